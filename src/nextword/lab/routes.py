"""`lab_routes`: the routes of the lab, beside those of the server."""

from __future__ import annotations

from starlette.routing import Route

from nextword.lab.information import info
from nextword.lab.page_files import page_routes


def lab_routes() -> list[Route]:
    """Return the routes of the page and of what it asks for.

    `/openapi.json` leaves them out: they are the page's own, and change with it.
    """
    return [Route("/lab/info", info, include_in_schema=False), *page_routes()]
