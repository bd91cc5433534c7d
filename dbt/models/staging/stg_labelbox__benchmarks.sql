-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('benchmarks', [
    ('id', 'text'),
    ('project_id', 'text'),
    ('reference_label_id', 'text'),
    ('created_by_id', 'text'),
    ('average_agreement', 'number'),
    ('completed_count', 'integer'),
    ('last_activity', 'timestamp'),
    ('created_at', 'timestamp'),
    ('additional_columns', 'json'),
]) }}
