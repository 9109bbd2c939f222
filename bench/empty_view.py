"""What heartbeats are measured against: a view that does nothing."""

from django.urls import path
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from bench.heartbeats import PATH


class EmptyView(APIView):
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def post(self, request: Request) -> Response:
        return Response({})


urlpatterns = [path(PATH.lstrip("/"), EmptyView.as_view())]
