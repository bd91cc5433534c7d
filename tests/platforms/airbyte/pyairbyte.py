"""Read with PyAirbyte into its cache in DuckDB, and print how many rows each table has.

Arguments: the command, the file of settings, the file of the cache, and streams.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import airbyte as ab

command, config, cache, *streams = sys.argv[1:]
source = ab.get_source(
    "source-labelbox",
    config=json.loads(Path(config).read_text()),
    local_executable=Path(command),
)
source.check()
source.select_streams(streams)
kept = ab.caches.DuckDBCache(db_path=cache, schema_name="labelbox")
result = source.read(cache=kept)
counts = {name: len(dataset) for name, dataset in result.streams.items()}
print(json.dumps({"processed": result.processed_records, "rows": counts}))  # noqa: T201
