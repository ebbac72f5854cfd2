"""`lab_routes`: the routes of the lab, beside those of the server."""

from __future__ import annotations

from starlette.routing import Route

from nextword.lab.compare import compare
from nextword.lab.information import info
from nextword.lab.inside import Inside
from nextword.lab.measure import Measure
from nextword.lab.page_files import page_routes
from nextword.lab.read import read
from nextword.lab.replay import replay
from nextword.lab.side_work import SideWork
from nextword.lab.summarize import Summarize
from nextword.lab.training_routes import TrainingRoutes


def lab_routes() -> list[Route]:
    """Return the routes of the page and of what it asks for.

    `/openapi.json` leaves them out: they are the page's own, and change with it.
    """
    side_work, training = SideWork(), TrainingRoutes()
    posts = {
        "read": read,
        "replay": replay,
        "compare": compare,
        "inside": Inside(side_work).answer,
        "measure": Measure(side_work).answer,
        "summarize": Summarize(side_work).answer,
        "training": training.start,
        "training/stop": training.stop,
        "training/continue": training.go_on,
    }
    return [
        Route("/lab/info", info, include_in_schema=False),
        Route("/lab/training/events", training.events, include_in_schema=False),
        *(Route(f"/lab/{name}", to, methods=["POST"], include_in_schema=False) for name, to in posts.items()),
        *page_routes(),
    ]
