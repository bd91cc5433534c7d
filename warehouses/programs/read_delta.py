"""Print the types and rows of each Delta table in a folder, a line each."""

import json
import sys
from pathlib import Path

from deltalake import DeltaTable

for folder in sorted(Path(sys.argv[1]).iterdir()):
    table = DeltaTable(str(folder))
    types = {field.name: field.type.type for field in table.schema().fields}
    rows = table.to_pyarrow_table().to_pylist()
    line = {"table": folder.name, "types": types, "rows": rows}
    print(json.dumps(line, default=str))
