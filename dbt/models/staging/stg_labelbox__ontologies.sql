-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('ontologies', [
    ('id', 'text'),
    ('name', 'text'),
    ('description', 'text'),
    ('media_type', 'text'),
    ('object_schema_count', 'integer'),
    ('classification_schema_count', 'integer'),
    ('normalized', 'json'),
    ('created_by_id', 'text'),
    ('created_at', 'timestamp'),
    ('updated_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
