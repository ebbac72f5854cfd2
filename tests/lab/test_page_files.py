"""The lab's files are found by name alone, and their headers let a browser run nothing else."""

from __future__ import annotations

import pytest

from nextword.lab.page_files import PAGE
from tests.serving.client import Client


def test_the_root_leads_to_the_page(client: Client) -> None:
    for path in ("/", "/lab"):
        answer = client.get(path)
        assert (answer.status, answer.headers["location"]) == (302, "/lab/")
    page = client.get("/lab/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.body == (PAGE / "index.html").read_bytes()


def test_a_browser_runs_nothing_from_elsewhere(client: Client) -> None:
    headers = client.get("/lab/").headers
    rules = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert rules["default-src"] == "'self'"
    assert not any("unsafe" in rule or "http" in rule or "*" in rule for rule in rules.values())
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(
    "path", ["/lab/nothing.js", "/lab/../routes.py", "/lab/%2e%2e%2froutes.py", "/lab/..%2f__init__.py", "/lab/x/y.js"]
)
def test_no_other_file_can_be_read(client: Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status, answer.error["type"]) == (404, "not_found_error")


def test_each_file_of_the_page_is_served(client: Client) -> None:
    for path in PAGE.iterdir():
        answer = client.get(f"/lab/{path.name}")
        assert (answer.status, answer.body) == (200, path.read_bytes())


def test_a_foreign_page_gets_nothing(client: Client) -> None:
    assert client.get("/lab/info", origin="http://evil.example").status == 403
    assert client.get("/lab/", host="evil.example").status == 403


def test_the_page_is_told_what_the_server_can_do(client: Client) -> None:
    info = client.get("/lab/info").json
    assert info["models"] == [info["model"]]
    sliders = {one["name"]: one for one in info["parameters"]}
    assert (sliders["temperature"]["kind"], sliders["temperature"]["off"]) == ("float", 1.0)
    assert sliders["top_k"] == sliders["top_k"] | {"kind": "int", "off": 0, "step_name": "top_k"}
    assert all(preset["params"].keys() <= sliders.keys() for preset in info["presets"])
