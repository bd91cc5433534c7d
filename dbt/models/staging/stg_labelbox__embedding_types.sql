-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('embedding_types', [
    ('id', 'text'),
    ('name', 'text'),
    ('dims', 'integer'),
    ('custom', 'boolean'),
    ('vector_count', 'integer'),
    ('additional_columns', 'json'),
]) }}
