-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('catalog_slices', [
    ('id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('filter', 'json'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
