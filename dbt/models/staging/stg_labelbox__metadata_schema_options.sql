-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('metadata_schema_options', [
    ('metadata_schema_id', 'text'),
    ('id', 'text'),
    ('name', 'text'),
    ('kind', 'text'),
    ('reserved', 'boolean'),
    ('order', 'integer'),
    ('additional_columns', 'json'),
]) }}
