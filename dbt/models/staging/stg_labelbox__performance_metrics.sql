-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('performance_metrics', [
    ('name', 'text'),
    ('category', 'text'),
    ('unit', 'text'),
    ('buckets', 'text'),
    ('description', 'text'),
    ('additional_columns', 'json'),
]) }}
