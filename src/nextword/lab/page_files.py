"""`page_routes`: the page of the lab and its files, and headers by which a browser runs nothing else.

Files are read once, when the server starts, and found by name, so no path of a request reaches the disk.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from nextword.serving.errors import ApiError

PAGE = Path(__file__).parent / "page"
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
"""Headers of the page: scripts and styles from this server alone, none written into the page, no frames around it."""


def page_routes() -> list[Route]:
    """Return the routes of the page: `/` leads to `/lab/`."""
    files = {path.name: path.read_bytes() for path in PAGE.iterdir() if path.suffix in _KINDS}

    async def file(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in files:
            raise ApiError("there is no such file in the lab", status=404, kind="not_found_error")
        return Response(files[name], headers={**HEADERS, "content-type": _KINDS[Path(name).suffix]})

    paths = {"/": _to_lab, "/lab": _to_lab, "/lab/": file, "/lab/{name}": file}
    return [Route(path, endpoint, include_in_schema=False) for path, endpoint in paths.items()]


async def _to_lab(request: Request) -> Response:
    return RedirectResponse("/lab/", status_code=302)
