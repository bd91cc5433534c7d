"""Print the types and rows of each Iceberg table in a folder, a line each."""

import json
import sys
from pathlib import Path

from pyiceberg.catalog import load_catalog

lake = Path(sys.argv[1])
catalog = load_catalog(
    "lake", type="sql", uri=f"sqlite:///{lake}/catalog.db", warehouse=lake.as_uri()
)
for name in catalog.list_tables("labelbox"):
    table = catalog.load_table(name)
    types = {field.name: str(field.field_type) for field in table.schema().fields}
    rows = table.scan().to_arrow().to_pylist()
    line = {"table": name[-1], "types": types, "rows": rows}
    print(json.dumps(line, default=str))
