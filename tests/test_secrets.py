"""No secret that Labelbox holds leaves the tap: not in records, log or state."""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any

import graphql
import pytest

from tap_labelbox.redact import MASK
from tap_labelbox.sandbox import Reply, World, server
from tap_labelbox.sandbox.people import SECRET
from tap_labelbox.sandbox.resolvers import RESOLVERS
from tests.few_days import add_reviewed_labels
from tests.runner import PRIMARY_KEYS
from tests.test_queries import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tap_labelbox.sandbox import Request
    from tests.runner import Output, Runner

# Fields that may hold a secret, by their names.
TELLING = re.compile(
    r"secret|token|jwt|password|signature|apiKey$|ur[li]$|Url$|^file$|^result$|^errors$"
    r"|^metadata$|container",
    re.IGNORECASE,
)
FOLLOWED = {"ExportLabels.downloadUrl", "ExportFile.file"}
"""Links that are followed, so they have to stay: the sandbox signs them itself."""

QUERY = re.compile(r"\?[^\"\\]*?(?:Signature|signature|sig)=([^\"\\&]+)")
PLANTED = "pl4nted-"


def fields() -> Iterator[tuple[str, Any]]:
    """Yield each field of the schema that may hold a secret, and its type."""
    for kind in SCHEMA.type_map.values():
        if isinstance(kind, graphql.GraphQLObjectType) and kind.name[0] != "_":
            for name, field in kind.fields.items():
                full_name = f"{kind.name}.{name}"
                if TELLING.search(name) and full_name not in FOLLOWED:
                    yield full_name, graphql.get_named_type(field.type)


def planted(name: str, kind: Any) -> Callable[..., Any]:
    """Return a resolver that answers with secrets wherever one can stand."""
    secret = f"{PLANTED}{name}"
    address = (
        f"https://me-{secret}:{secret}@files.example.com/x"
        f"?bewit={secret}&X-Amz-Signature={secret}#{secret}"
    )
    value: Any = address
    if kind.name == "Json":
        value = {
            "inputFileUrl": address,
            "nested": [{"token": secret, "text": f"see {address}"}],
        }
    return lambda *_, **__: value


@pytest.fixture
def run(
    serving: Callable[..., Runner], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Runner]:
    """Serve a workspace that holds a secret wherever the schema has room for one."""
    resolvers = {name: planted(name, kind) for name, kind in fields()}
    monkeypatch.setattr(server, "RESOLVERS", RESOLVERS | resolvers)
    server._schema.cache_clear()
    world = World(projects=5)
    add_reviewed_labels(world, world.projects[0].id)
    world.people.webhooks.append({"id": "odd", "url": "-"})
    yield serving(world, unexportable=1)
    server._schema.cache_clear()


def written(output: Output, caplog: pytest.LogCaptureFixture) -> str:
    """Return all that a run lets out: messages, states among them, and the log."""
    return f"{output.text}\n{caplog.text}\n{output.error}"


def test_there_is_a_secret_in_every_such_place(run: Runner) -> None:
    """The sandbox gives it to whoever asks."""
    names = {name for name, _ in fields()}

    assert names >= {
        "ApiKey.jwt",
        "AzureIamIntegrationSettings.clientSecret",
        "AzureIamIntegrationSettings.readContainerUrl",
        "Project.issueExportUrl",
        "Task.errors",
        "Task.metadata",
        "Task.result",
        "Webhook.secret",
        "Webhook.url",
    }
    client = run.tap().workspace.client
    text = json.dumps(client.execute("webhooks", skip=0, first=100))
    assert f"{PLANTED}Webhook.url" in text


def test_no_secret_gets_out(run: Runner, caplog: pytest.LogCaptureFixture) -> None:
    """Of all streams, the log at DEBUG included."""
    caplog.set_level(logging.DEBUG)
    signatures: set[str] = set()

    def collect(_: Request, reply: Reply) -> None:
        text = reply.content().decode()
        for name in ("file", "downloadUrl", "download_url"):
            for link in re.findall(rf'"{name}":"([^"]*)"', text):
                signatures.update(QUERY.findall(f'{link}"'))

    run.sandbox.after = collect
    output = run(*PRIMARY_KEYS)

    text = written(output, caplog)
    # Of presence nothing is written where something is left out, as it is here.
    presence = {"data_row_presence", "label_presence"}
    streams = {m["stream"] for m in output.messages if m["type"] == "RECORD"}
    assert streams >= PRIMARY_KEYS.keys() - presence
    assert signatures
    assert PLANTED not in text
    assert SECRET not in text
    assert run.sandbox.api_key not in text
    assert not [signature for signature in signatures if signature in text]


@pytest.mark.parametrize(
    "url",
    [
        f"{SECRET}",
        f"https://me:{SECRET}",
        f"me:{SECRET}@example.com",
        f"https:/{SECRET}/?{SECRET}",
        {"href": f"https://me:{SECRET}@example.com"},
        [f"https://me:{SECRET}@example.com"],
        {},
        17,
    ],
)
def test_an_address_that_is_none_is_not_put_aside(
    run: Runner, caplog: pytest.LogCaptureFixture, url: Any
) -> None:
    """As other values are that do not fit; that there was one is."""
    caplog.set_level(logging.DEBUG)
    rows = [{"id": "w", "url": url, "secret": SECRET}]
    run.sandbox.before = lambda _: Reply(200, {}, {"data": {"rows": rows}})

    output = run("webhooks")

    (row,) = output.records("webhooks")
    assert SECRET not in written(output, caplog)
    assert row["url"] is None or MASK in row["url"]
    aside = {"secret": MASK} | ({} if row["url"] else {"url": MASK})
    assert row["additional_columns"] == aside


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"a": 1}, {"a": 1}),
        ('{"a": [1, "b"]}', {"a": [1, "b"]}),
        ('{"token": "x"}', {"token": MASK}),
        ('{"a', None),
        (f'"https://example.com/?bewit={SECRET}"', None),
        ([f"https://example.com/?bewit={SECRET}"], None),
        (3, None),
    ],
)
def test_the_metadata_of_a_task_may_come_in_any_form(
    run: Runner, caplog: pytest.LogCaptureFixture, metadata: Any, kept: Any
) -> None:
    """Anything but an object is put aside, without secrets."""
    rows = [{"id": "t", "metadata": metadata}]
    run.sandbox.before = lambda _: Reply(200, {}, {"data": {"rows": rows}})

    output = run("tasks")

    (row,) = output.records("tasks")
    assert row["metadata"] == kept
    assert ("metadata" in row["additional_columns"]) == (kept is None)
    assert SECRET not in written(output, caplog)
