"""What every view of the API is built on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar, cast

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Collate
from django.http import Http404
from django.utils.http import parse_etags
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from accounts.models import User
from accounts.scope import is_limited
from backoffice.api.filters import Filter
from backoffice.api.parsing import check_query, query_flag, take_body_of_unknown_length
from backoffice.api.problems import PreconditionFailed
from backoffice.api.serializers import detail_url
from backoffice.visibility import visible

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
DRY_RUN_HEADER = "X-Booster-Dry-Run"


class ApiView(APIView):
    """A door: knows its query parameters, its rights, and which problems it can answer.

    `query` names the query parameters a method reads. `rights` are needed for every method (none:
    any user). `problems` adds, by method name, statuses to those `ProblemSchema` declares by itself. The
    body of a view that `is_streamed` is left to it.
    """

    metadata_class = None
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    query: ClassVar[Mapping[str, Iterable[str]]] = {}
    rights: ClassVar[tuple[str, ...]] = ()
    problems: ClassVar[Mapping[str, Iterable[int]]] = {}
    is_streamed: ClassVar[bool] = False

    def needed_rights(self, method: str) -> Iterable[str]:
        return self.rights

    def known_query(self, method: str) -> frozenset[str]:
        return frozenset(self.query.get("get" if method == "HEAD" else method.lower(), ()))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.setdefault("Cache-Control", "no-store")  # rights end at once, and some answers are secrets
        return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        method = request.method or "GET"
        if method.lower() in self.http_method_names and hasattr(self, method.lower()):
            check_query(request, self.known_query(method))
        if method in WRITES and not self.is_streamed:
            take_body_of_unknown_length(request._request)


def by_code_point(name: str) -> Any:
    """Return an ordering of a text by Unicode code point, whatever the database's collation is."""
    return Collate(F(name), "C") if connection.vendor == "postgresql" else F(name)


def etag_of(representation: Mapping[str, Any], observed: Iterable[str]) -> str:
    """Return the ETag of an object's representation without its observed members.

    Those change by themselves; an edit must not be refused because a heartbeat came in.
    """
    kept = {member: value for member, value in representation.items() if member not in set(observed)}
    text = json.dumps(kept, cls=DjangoJSONEncoder, sort_keys=True, separators=(",", ":"))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


class Records(ApiView, GenericViewSet[Any]):
    """List and read the objects of one collection."""

    lookup_value_converter = "int"
    filters: ClassVar[tuple[Filter, ...]] = ()
    texts_in_order: ClassVar[tuple[str, ...]] = ()
    """Texts that order the list by code point, after what the queryset orders by itself."""
    action_rights: ClassVar[Mapping[str, str]] = {}
    """Rights of actions beside the usual ones, such as `{"revoke": "change"}`."""
    observed: ClassVar[tuple[str, ...]] = ()
    """Members that are told, never written, and do not count for the ETag."""

    # --- Who may do what ---

    def needed_rights(self, method: str) -> Iterable[str]:
        usual = {"POST": "add", "PUT": "change", "PATCH": "change", "DELETE": "delete"}.get(method, "view")
        options = super().get_queryset().model._meta
        verb = self.action_rights.get(self.action, usual)
        return (f"{options.app_label}.{verb}_{options.model_name}",)

    def known_query(self, method: str) -> frozenset[str]:
        if method in WRITES:
            return frozenset({"dry_run"})
        if self.action != "list":
            return frozenset()
        names = {parameter["name"] for filter_ in self.filters for parameter in filter_.parameters}
        return frozenset(names | {"limit", "offset", *self.query.get("list", ())})

    def get_queryset(self) -> QuerySet[Any]:
        """Return what the caller may see of the collection; the rest does not exist for them."""
        queryset = self.objects()
        user = self.request.user
        if isinstance(user, User) and is_limited(user):
            queryset = queryset.filter(pk__in=visible(queryset.model, user).order_by().values("pk"))
        return queryset

    def objects(self) -> QuerySet[Any]:
        """Return all objects with what their representation needs, in the order of the list."""
        queryset = super().get_queryset()
        if self.texts_in_order:
            texts = (by_code_point(name) for name in self.texts_in_order)
            queryset = queryset.order_by(*queryset.query.order_by, *texts, "pk")
        return queryset

    # --- Reading ---

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        page = self.paginate_queryset(self.list_objects(request))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def list_objects(self, request: Request) -> QuerySet[Any] | Sequence[Any]:
        return self.filter_queryset(self.get_queryset())

    def retrieve(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.answer(self.find(self.get_queryset()))

    def find(self, queryset: QuerySet[Any]) -> Any:
        instance = queryset.filter(pk=self.kwargs["pk"]).first()
        if instance is None:
            raise Http404
        return instance

    def answer(self, instance: models.Model, code: int = status.HTTP_200_OK) -> Response:
        data = self.get_serializer(instance).data
        answer = Response(data, status=code, headers={"ETag": etag_of(data, self.observed)})
        if code == status.HTTP_201_CREATED:
            answer["Location"] = detail_url(self.basename, instance.pk)
        return answer


class Collection(Records):
    """List, read, create, change and delete the objects of one collection.

    Writes run in one transaction with the object locked: `If-Match` is compared under that lock, and
    `?dry_run=true` gives the same answer, then rolls everything back.
    """

    @property
    def caller(self) -> User:
        """The person behind the credential, whom the permission has established."""
        return cast(User, self.request.user)

    def lock(self) -> AbstractContextManager[None]:
        """Return the transaction of a write, with whatever lock the collection needs before any row."""
        return transaction.atomic()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self.lock():
            yield
            if query_flag(self.request, "dry_run"):
                transaction.set_rollback(True)

    def find_to_change(self) -> Any:
        """Return the object, locked, after comparing `If-Match`; raises PreconditionFailed.

        Locked against changes only: others may refer to it meanwhile, so that none who does so waits for us
        while we wait for it.
        """
        instance = self.find(self.get_queryset().select_for_update(of=("self",), no_key=True))
        wanted = self.request.headers.get("If-Match")
        if wanted is not None and wanted.strip() != "*":
            present = etag_of(self.get_serializer(instance).data, self.observed)
            if present not in parse_etags(wanted):
                raise PreconditionFailed("The object is not the one that If-Match names; read it again.")
        return instance

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self.writing():
            return self.answer(self.reread(self.save(None)), status.HTTP_201_CREATED)

    def update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self.writing():
            instance = self.find_to_change()
            return self.answer(self.reread(self.save(instance, partial=kwargs.get("partial", False))))

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        return self.update(request, *args, partial=True, **kwargs)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        with self.writing():
            self.delete_object(self.find_to_change())
            return Response(status=status.HTTP_204_NO_CONTENT)

    def save(self, instance: models.Model | None, *, partial: bool = False) -> models.Model:
        serializer = self.get_serializer(instance, data=self.request.data, partial=partial)
        serializer.is_valid(raise_exception=True)
        saved: models.Model = serializer.save()
        return saved

    def reread(self, instance: models.Model) -> models.Model:
        reread: models.Model = self.objects().get(pk=instance.pk)
        return reread

    def delete_object(self, instance: Any) -> None:
        """Delete through the rule of the room, where there is one."""
        instance.delete()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        if request.method in WRITES and request.GET.get("dry_run") == "true":
            response[DRY_RUN_HEADER] = "true"
        return response
