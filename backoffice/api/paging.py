"""Pages of a collection: `{count, next, previous, results}`."""

from rest_framework.pagination import LimitOffsetPagination
from rest_framework.request import Request

from backoffice.api.parsing import query_count

LARGEST_PAGE = 1000


class Paging(LimitOffsetPagination):
    """`limit` (50; more than 1000 is cut to 1000) and `offset`; anything else in them is refused."""

    default_limit = 50
    max_limit = LARGEST_PAGE

    def get_limit(self, request: Request) -> int:
        return min(query_count(request, self.limit_query_param, 50, 1), LARGEST_PAGE)

    def get_offset(self, request: Request) -> int:
        return query_count(request, self.offset_query_param, 0, 0)
