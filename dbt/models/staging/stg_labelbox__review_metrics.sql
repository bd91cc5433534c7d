-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('review_metrics', [
    ('project_id', 'text'),
    ('net_score', 'text'),
    ('count', 'integer'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
