"""`/metrics`: exact counts, and gauges that come back to 0 after clients have gone."""

from __future__ import annotations

import json
import re

import nextword as nw
from tests.serving.client import Client
from tests.serving.faults import FaultyBackend, is_idle, serving, wait_until

PATH = "/v1/completions"


def measures(client: Client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").body.decode().splitlines() if not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_tokens_and_ends_are_counted_exactly(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend()) as (_, client):
        for _ in range(3):
            client.complete("abcd", max_tokens=5, n=2, logit_bias={"256": -1000})
        found = measures(client)
        assert found["nextword:prompt_tokens_total"] == 12
        assert found["nextword:generation_tokens_total"] == 30
        assert found['nextword:request_success_total{finished_reason="length"}'] == 6
        assert found["nextword:e2e_request_latency_seconds_count"] == 3
        assert found["nextword:time_to_first_token_seconds_count"] == 3
        assert found["nextword:request_params_n_sum"] == 6
        assert found["nextword:num_requests_running"] == found["nextword:num_requests_waiting"] == 0


def test_a_client_that_goes_resets_the_gauges(lm: nw.LanguageModel) -> None:
    backend = FaultyBackend(delay=0.01)
    with serving(lm, backend) as (service, client):
        connection = client.connect()
        body = {"prompt": "ab", "max_tokens": 3000, "logit_bias": {"256": -1000}}
        connection.request("POST", PATH, json.dumps(body), {"content-type": "application/json"})
        wait_until(lambda: measures(client)["nextword:num_requests_running"] == 1)
        connection.close()
        wait_until(lambda: is_idle(service, backend))
        found = measures(client)
        assert found["nextword:num_requests_running"] == 0
        assert found["nextword:kv_cache_usage_perc"] == 0
        assert found["nextword:http_requests_client_disconnected_total"] == 1
        assert found['nextword:request_success_total{finished_reason="abort"}'] == 1


def test_no_text_of_a_client_is_in_the_measures(lm: nw.LanguageModel) -> None:
    with serving(lm, FaultyBackend()) as (_, client):
        client.post(PATH, {"prompt": "secret", "model": "secret", "max_tokens": 1})
        client.complete("secret", max_tokens=1)
        assert not re.search(b"secret", client.get("/metrics").body)
