"""The door at which the calling agent fetches the documents of its store's terminals."""

from __future__ import annotations

from typing import Any, ClassVar

from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from backoffice.rate_limits import DEVICE_REPORTS_PER_MINUTE, Limit
from boosters.api.agent_door import AgentDoor
from boosters.documents import StoreDocuments
from routing.answers import names_tag
from routing.store import store

DOCUMENTS = Limit("store-documents", DEVICE_REPORTS_PER_MINUTE, 60, "This agent asks for the documents too often.")


class SigningKey(serializers.Serializer[Any]):
    kty = serializers.CharField()
    crv = serializers.CharField()
    x = serializers.CharField()
    kid = serializers.CharField()
    alg = serializers.CharField()
    use = serializers.CharField()


class StoreDocument(serializers.Serializer[Any]):
    body = serializers.CharField(help_text="The document's exact bytes, as UTF-8.")
    tag = serializers.CharField(help_text="Its entity tag, without quotes.")
    revision = serializers.IntegerField()
    signature = serializers.CharField(help_text="Compact JWS of one of `signing_keys`.")


class DocumentsOfStore(serializers.Serializer[Any]):
    configuration = StoreDocument()
    status = StoreDocument()


class OrganizationDocuments(serializers.Serializer[Any]):
    code = serializers.CharField()
    terminals = serializers.ListField(
        child=serializers.CharField(), help_text="Ids of its terminals' tokens, without secrets."
    )
    documents = DocumentsOfStore()


class DocumentsAnswer(serializers.Serializer[Any]):
    format = serializers.IntegerField()
    signing_keys = SigningKey(many=True)
    organizations = OrganizationDocuments(many=True)


class DocumentsView(AgentDoor):
    """Give the calling agent of a store server the signed documents of its stores' terminals; a main server's none.

    304 without a body when `If-None-Match` names them. 429 for more than 60 questions in a minute.
    """

    problems: ClassVar[dict[str, tuple[int, ...]]] = {"get": (429,)}

    def check_throttles(self, request: Request) -> None:
        DOCUMENTS.count(self.token.server_id, timezone.now())

    @extend_schema(
        operation_id="agent_documents_retrieve",
        parameters=[OpenApiParameter("If-None-Match", str, OpenApiParameter.HEADER, description="Tags it holds.")],
        responses={200: DocumentsAnswer, 304: None},
    )
    def get(self, request: Request) -> HttpResponse:
        documents = StoreDocuments(store.recent(), self.token.server.key, timezone.now())
        tag = documents.tag
        headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
        if names_tag(request.headers.get("If-None-Match", ""), tag):
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(documents.body(), content_type="application/json", headers=headers)


urlpatterns = [
    path("documents", DocumentsView.as_view(), name="agent-documents"),
    path("documents/", DocumentsView.as_view()),
]
