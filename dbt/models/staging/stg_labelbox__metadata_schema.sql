-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('metadata_schema', [
    ('id', 'text'),
    ('name', 'text'),
    ('kind', 'text'),
    ('reserved', 'boolean'),
    ('additional_columns', 'json'),
]) }}
