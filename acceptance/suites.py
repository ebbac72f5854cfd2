"""`SUITES`: whose tests are run, from which archive, and with which edits."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from acceptance.sources import LLAMA_CPP, OPENAI, VLLM, Archive, unpacked

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Suite:
    """Tests in an archive."""

    archive: Archive
    wanted: str
    """Pattern of the archive's files that are unpacked."""
    tests: Sequence[str]
    """Files, from `folder`."""
    plugin: str
    """Module that adapts the tests, as a plugin of pytest."""
    folder: str = "."
    """Where the tests run."""
    options: Sequence[str] = ()
    """Of pytest."""
    path: Sequence[str] = ()
    """Folders of modules, from `folder`."""
    edits: Mapping[str, str] = field(default_factory=dict)
    """Texts in the suite's files, and what stands there instead."""

    def unpack(self, name: str) -> Path:
        """Return the folder where the suite runs. Raises OSError where it cannot be fetched."""
        mark = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        wanted = re.compile(self.wanted)
        found = unpacked(
            self.archive,
            f"{name}-{self.archive.version}-{mark}",
            lambda path: path if wanted.match(path) else None,
            self._edited,
        )
        return found / self.folder

    def _edited(self, name: str, content: bytes) -> bytes:
        for old, new in self.edits.items() if name.endswith(".py") else ():
            content = content.replace(old.encode(), new.encode())
        return content


_LLAMA_CPP = "vendor/llama.cpp"
SUITES = {
    "openai": Suite(
        OPENAI,
        r"(src|tests)/|pyproject\.toml",
        [
            f"tests/api_resources/{name}.py"
            for name in ("test_completions", "chat/test_completions", "test_responses", "test_models")
        ],
        "acceptance.openai_api",
        options=["-o", "addopts="],
        path=["src"],
    ),
    "llama_cpp": Suite(
        LLAMA_CPP,
        rf"{_LLAMA_CPP}/(tools/server/tests|models/templates)/",
        [
            f"unit/test_{name}.py"
            for name in (
                *("basic", "completion", "chat_completion", "tokenize", "security", "template", "metrics"),
                *("ignore_eos", "ctx_shift", "compat_oai_responses", "speculative", "tool_call"),
            )
        ],
        "acceptance.llama_cpp",
        folder=f"{_LLAMA_CPP}/tools/server/tests",
        edits={
            # Their TODO: "figure why it don't work with temperature = 1".
            '@pytest.mark.parametrize("temperature", [0.0])': '@pytest.mark.parametrize("temperature", [0.0, 1.0])',
            # Their FIXME: "not deterministic when using other slot than slot 0"; here it is that of a request alone.
            '# assert match_regex(re_content, res.body["content"])': 'assert res.body["content"] == tasks[i][0]('
            '*tasks[i][1]).body["content"]',
            # Numbers of tokens that another tokenizer makes of a text.
            'is"*32': 'is"*64',
            '"prompt": LONG_TEXT': '"prompt": LONG_TEXT * 4',
            "n_prompt = (40 + r)*5 + 2": 'n_prompt = len(server.make_request("POST", "/tokenize", '
            '{"content": prompt, "add_special": True}).body["tokens"])',
            # What OpenAI's API says otherwise: the name of a build, empty contents, errors, the path
            # of the API, a model that is not there.
            'system_fingerprint"].startswith("b")': 'system_fingerprint"]',
            'system_fingerprint.startswith("b")': "system_fingerprint",
            'delta"]["content"] is None': 'delta"]["content"] in (None, "")',
            "delta.content is None": 'delta.content in (None, "")',
            "delta'].get('content') is not None": "delta'].get('content')",
            '["type"] == "exceed_context_size_error"': '["n_ctx"]',
            '"exceeds the available context size" in res.body["error"]["message"]': 'res.body["error"]["n_ctx"]',
            '{server.server_port}")': '{server.server_port}/v1")',
            '("codellama70b",': "(None,",
            # A test goes on with drafts that are accepted by a rate of its own.
            "server.spec_synth_rates = [0.0] * server.spec_draft_n_max": "return",
        },
    ),
    "vllm": Suite(
        VLLM,
        r"pyproject\.toml|tests/(__init__\.py|entrypoints/)",
        [
            f"tests/entrypoints/{name}.py"
            for name in (
                *(f"openai/completion/test_{name}" for name in ("completion", "prompt_validation")),
                *(
                    f"openai/chat_completion/test_{name}"
                    for name in ("chat", "chat_completion", "chat_echo", "chat_logit_bias_validation")
                ),
                *("openai/test_chunked_prompt", "openai/test_return_token_ids", "openai/test_return_tokens_as_ids"),
                *("openai/models/test_models", "openai/responses/test_basic", "openai/responses/test_simple"),
                *("serve/tokenize/test_tokenization", "serve/instrumentator/test_basic"),
                *("serve/middleware/test_optional_middleware", "launchers/test_shutdown"),
            )
        ],
        "acceptance.vllm",
        options=["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"],
        edits={
            "vllm:num_requests": "nextword:num_requests",
            # What an error says in other words.
            "Either prompt or prompt_embeds must be provided and non-empty.": "prompt",
            ".*out of vocabulary.*": ".*vocabulary.*",
        },
    ),
}
