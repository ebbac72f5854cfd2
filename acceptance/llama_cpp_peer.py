"""`python -m acceptance.llama_cpp_peer SETTINGS`: llama.cpp's own server, from the package xllamacpp."""

from __future__ import annotations

import json
import signal
import sys
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import xllamacpp


def main() -> None:
    """Serve until a signal ends it."""
    server = xllamacpp.Server(_params(defaultdict(lambda: None, json.loads(sys.argv[1]))))
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    del server
    sys.exit(0)


def _params(settings: Mapping[str, Any]) -> Any:
    """Return the settings of llama.cpp; what is None or 0 is as its own."""
    params = xllamacpp.CommonParams()
    params.model.path = settings["model"]
    params.hostnames, params.port = ["127.0.0.1"], settings["port"]
    params.n_ctx, params.n_parallel = settings["n_ctx"] or 512, settings["n_slots"] or 1
    params.n_batch = settings["n_batch"] or 512
    params.n_predict = settings["n_predict"] or -1
    for name, value in (("seed", settings["seed"]), ("temp", settings["temperature"])):
        if value is not None:
            setattr(params.sampling, name, value)
    params.model_alias = {settings["model_alias"]}
    params.api_keys = [settings["api_key"]] if settings["api_key"] else []
    params.use_jinja = bool(settings["jinja"])
    params.chat_template = settings["chat_template"] or ""
    params.endpoint_slots, params.endpoint_metrics = settings["server_slots"], settings["server_metrics"]
    params.kv_unified, params.ctx_shift = bool(settings["kv_unified"]), bool(settings["enable_ctx_shift"])
    params.cors_origins = settings["cors_origins"] or "*"
    params.verbosity = 10 if settings["debug"] else 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    return params


if __name__ == "__main__":
    main()
