from contextlib import AbstractContextManager
from datetime import timedelta

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from backoffice.api.filters import FlagFilter, TextFilter, TreeFilter
from backoffice.api.views import Collection
from terminals.activation import create_activation_code
from terminals.api.serializers import ActivationCodeRequestSerializer, ActivationCodeSerializer, TerminalSerializer
from terminals.models import Terminal
from terminals.tokens import revoke_terminal
from terminals.writing import terminal_write


class TerminalCollection(Collection):
    """POS terminals; they belong to stores."""

    queryset = Terminal.objects.select_related("organization", "report").order_by()
    serializer_class = TerminalSerializer
    observed = ("activated_at", "last_seen_at", "software", "revision", "reported_at", "queue_length")
    texts_in_order = ("search_key",)
    action_rights = {"activation_code": "change", "revoke": "change"}
    filters = (
        TextFilter("search_key", "search_key", "With this search key."),
        TextFilter("name", "name", "Exactly this name."),
        FlagFilter("is_active", "Active or not."),
        TreeFilter("organization", "Of the organization with this code, see scope."),
    )

    def lock(self) -> AbstractContextManager[None]:
        return terminal_write()

    @extend_schema(request=ActivationCodeRequestSerializer, responses={201: ActivationCodeSerializer})
    @action(detail=True, methods=["post"], url_path="activation-code")
    def activation_code(self, request: Request, pk: int) -> Response:
        """Make a one-time activation code; it voids the older ones of this terminal."""
        with self.writing():
            terminal = self.find_to_change()
            form = ActivationCodeRequestSerializer(data=request.data)
            form.is_valid(raise_exception=True)
            code = create_activation_code(
                terminal,
                valid_for=timedelta(seconds=form.validated_data["valid_for_s"]),
                moment=timezone.now(),
                actor=self.caller,
            )
            return Response(ActivationCodeSerializer(code).data, status=status.HTTP_201_CREATED)

    @extend_schema(request=None, responses={200: TerminalSerializer})
    @action(detail=True, methods=["post"])
    def revoke(self, request: Request, pk: int) -> Response:
        """Revoke the terminal's tokens and activation codes; revoking twice changes nothing."""
        with self.writing():
            terminal = self.find_to_change()
            revoke_terminal(terminal.pk, timezone.now(), actor=self.caller)
            return self.answer(self.reread(terminal))
