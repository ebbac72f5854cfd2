"""Two models in one lab: each by its name in every route, and both on one text, with equal tokens and with others."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tokenizers import Tokenizer as HfTokenizer
from tokenizers import models

import nextword as nw
from nextword.lab.routes import lab_routes
from nextword.serving.server import ServerThread
from nextword.serving.service import Service
from nextword.text.tokenizer import Tokenizer
from tests.api_model import load_bytes_model
from tests.data.byte_tokenizer import byte_tokenizer
from tests.serving.client import Client

TEXT = "abab, dé abc é"
Models = dict[str, nw.LanguageModel]


def pair_tokenizer() -> Tokenizer:
    """Bytes and "ab" as tokens, "d" and " " with the first byte of é, and a token before each text."""
    bytes_alone = byte_tokenizer(add_bos=True)
    backend = HfTokenizer.from_str(bytes_alone._backend.to_str())
    pairs = [("a", "b"), ("d", "Ã"), ("Ġ", "Ã")]
    vocabulary = {token: at for token, at in bytes_alone._backend.get_vocab().items() if at < 256}
    tokens = {left + right: 200 + at for at, (left, right) in enumerate(pairs)}
    freed = [token for token, at in vocabulary.items() if at in tokens.values()]
    kept = {token: at for token, at in vocabulary.items() if token not in freed}
    backend.model = models.BPE({**kept, **tokens}, pairs)
    return Tokenizer(
        backend,
        bos_token_id=256,
        eos_token_ids=(256,),
        chat_template=None,
        special_variables={"eos_token": "<|end|>"},
    )


@pytest.fixture(scope="module")
def lms(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """A model, one with the same tokens and other weights, and one with other tokens."""
    folder = tmp_path_factory.mktemp("compare")
    load_bytes_model(folder / "pairs", seed=9)
    pair_tokenizer().save(folder / "pairs")
    return {
        "first": load_bytes_model(folder / "first"),
        "tuned": load_bytes_model(folder / "tuned", seed=8),
        "pairs": nw.load(folder / "pairs"),
    }


@pytest.fixture(scope="module")
def client(lms: Models) -> Iterator[Client]:
    """A client of a lab that serves all of them."""
    service = Service(lms["first"])
    service.serve_beside(lms["tuned"])
    service.serve_beside(lms["pairs"])
    with ServerThread(service, routes=lab_routes()) as server:
        yield Client(server.url)


def compare(client: Client, *names: str, **fields: Any) -> Any:
    """The answer of /lab/compare."""
    answer = client.post("/lab/compare", {"models": list(names), **fields})
    assert answer.status == 200, answer.body
    return answer.json


def test_each_model_answers_by_its_name(client: Client, lms: Models) -> None:
    assert client.get("/lab/info").json["models"] == list(lms)
    assert [one["id"] for one in client.get("/v1/models").json["data"]] == list(lms)
    for name, lm in lms.items():
        info = client.get(f"/lab/info?model={name}").json
        assert (info["model"], info["has_chat"]) == (name, name != "pairs")
        assert client.complete("abc", model=name, max_tokens=9, seed=1)["choices"][0]["text"] == (
            lm.generate("abc", max_tokens=9, seed=1).text
        )
        shown = client.post("/v1/distribution", {"model": name, "prompt": "abc", "top": 3}).json["positions"][0]
        assert [row["token_id"] for row in shown["rows"]] == [one for one, _ in lm.next("abc").most_probable(3)]
        assert client.post("/tokenize", {"model": name, "prompt": TEXT}).json["tokens"] == lm.tokenizer.encode(TEXT)
        measured = client.post("/lab/measure", {"model": name, "text": TEXT}).json["conventions"][0]["perplexity"]
        assert measured == lm.perplexity(TEXT).perplexity
        scores = client.post("/v1/score", {"model": name, "prompt": "ab", "continuations": ["ab"]}).json["scores"]
        last = lm.score("abab").tokens[-len(scores[0]["tokens"]) :]
        assert scores[0]["token_logprobs"] == pytest.approx([one.log_prob for one in last])
    refused = client.post("/lab/read", {"model": "fourth", "text": "a"})
    assert (refused.status, refused.error["message"]) == (
        404,
        "model = 'fourth': is not served here; the models are first, tuned, pairs",
    )
    assert client.get("/lab/info?model=fourth").status == 404


def test_texts_of_two_models_are_written_at_the_same_time(client: Client, lms: Models) -> None:
    expected = {name: lm.generate("abc", max_tokens=40, seed=3).text for name, lm in lms.items()}
    found: dict[str, str] = {}

    def ask(name: str) -> None:
        found[name] = client.complete("abc", model=name, max_tokens=40, seed=3)["choices"][0]["text"]

    threads = [threading.Thread(target=ask, args=(name,)) for name in lms]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def test_the_same_tokens_are_compared_one_by_one(client: Client, lms: Models) -> None:
    found = compare(client, "first", "tuned", text=TEXT)
    scores = [[one.log_prob for one in lms[name].score(TEXT).tokens] for name in ("first", "tuned")]
    assert found["is_same_tokens"]
    assert [side["model"] for side in found["sides"]] == ["first", "tuned"]
    spans = found["spans"]
    assert [span["tokens"] for span in spans] == [[[at, at + 1]] * 2 for at in range(len(TEXT.encode()))]
    assert [span["log_probs"] for span in spans] == [None, *map(list, zip(*scores, strict=True))]
    assert [span["difference"] for span in spans[1:]] == [b - a for a, b in zip(*scores, strict=True)]
    assert [TEXT[span["begin"] : span["end"]] for span in spans] == [char for char in TEXT for _ in char.encode()]
    totals = [math.fsum(one or 0.0 for one in of_model) for of_model in scores]
    assert found["totals"] == {"num_spans": len(spans) - 1, "log_probs": totals, "difference": totals[1] - totals[0]}
    ids = lms["first"].tokenizer.encode(TEXT)
    by_ids = compare(client, "first", "tuned", token_ids=ids, prompt_length=5)
    assert by_ids["spans"] == spans
    assert by_ids["totals"]["num_spans"] == len(ids) - 5
    assert compare(client, "first", "first", text=TEXT)["totals"]["difference"] == 0.0


def test_other_tokens_are_compared_where_both_end(client: Client, lms: Models) -> None:
    found = compare(client, "first", "pairs", text=TEXT)
    assert not found["is_same_tokens"]
    a, b = (side["tokens"] for side in found["sides"])
    assert (a[0]["log_prob"], b[0]["text"], b[0]["log_prob"]) == (None, "<|end|>", None)
    data = [
        [lm.tokenizer.token_bytes(row["token_id"]) for row in rows]
        for lm, rows in zip((lms["first"], lms["pairs"]), (a, b), strict=True)
    ]
    ends = [set(itertools.accumulate(map(len, pieces))) - {0} for pieces in data]
    assert [span["tokens"][0][1] for span in found["spans"]] == sorted(ends[0] & ends[1])  # tokens of a are bytes
    for span in found["spans"]:
        (a_from, a_to), (b_from, b_to) = span["tokens"]
        assert b"".join(data[0][a_from:a_to]) == b"".join(data[1][b_from:b_to])
        sums = [
            math.fsum(row["log_prob"] for row in rows)
            for rows in (a[a_from:a_to], b[b_from:b_to])
            if rows[0]["log_prob"] is not None
        ]
        assert span["log_probs"] == (sums if len(sums) == 2 else None)
    texts = [TEXT[span["begin"] : span["end"]] for span in found["spans"]]
    assert texts == ["ab", "ab", ",", " ", "dé", "é", " ", "ab", "c", " é", "é"]
    assert found["totals"]["num_spans"] == len(texts) - 1
    back = compare(client, "pairs", "first", text=TEXT)["totals"]
    assert back["log_probs"] == found["totals"]["log_probs"][::-1]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"text": "a"}, "models"),
        ({"models": "first", "text": "a"}, "models"),
        ({"models": ["first"], "text": "a"}, "models"),
        ({"models": ["first", 3], "text": "a"}, "models"),
        ({"models": ["first", "tuned"]}, "text"),
        ({"models": ["first", "tuned"], "text": ""}, "text"),
        ({"models": ["first", "tuned"], "text": "a" * 65}, "text"),
        ({"models": ["first", "tuned"], "text": "a", "token_ids": [1]}, "text"),
        ({"models": ["first", "tuned"], "text": "ab", "prompt_length": 1}, "prompt_length"),
        ({"models": ["first", "tuned"], "token_ids": [1, 2], "prompt_length": 3}, "prompt_length"),
        ({"models": ["first", "pairs"], "token_ids": [97, 200]}, "token_ids"),
        ({"models": ["first", "tuned"], "token_ids": [257]}, "token_ids"),
        ({"models": ["first", "tuned"], "messages": []}, "messages"),
    ],
)
def test_a_bad_field_is_named(client: Client, body: dict[str, Any], param: str) -> None:
    answer = client.post("/lab/compare", body)
    assert (answer.status, answer.error["param"]) == (400, param), answer.body


def test_a_model_of_the_same_name_gets_a_number(lms: Models) -> None:
    service = Service(lms["first"])
    service.serve_beside(lms["first"])
    service.serve_beside(lms["first"])
    assert service.names == ["first", "first-2", "first-3"]
