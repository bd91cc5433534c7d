-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('models', [
    ('id', 'text'),
    ('name', 'text'),
    ('ontology_id', 'text'),
    ('additional_columns', 'json'),
]) }}
