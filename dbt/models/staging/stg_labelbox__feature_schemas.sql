-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('feature_schemas', [
    ('id', 'text'),
    ('schema_node_id', 'text'),
    ('name', 'text'),
    ('kind', 'text'),
    ('type', 'text'),
    ('normalized', 'json'),
    ('additional_columns', 'json'),
]) }}
