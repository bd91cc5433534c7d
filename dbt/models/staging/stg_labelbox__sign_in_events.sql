-- Written by scripts/write_docs.py: change the code, then run `make docs`.
{{ labelbox_stage('sign_in_events', [
    ('event_id', 'text'),
    ('type', 'text'),
    ('occurred_at', 'timestamp'),
    ('session_id', 'text'),
    ('user_id', 'text'),
    ('email', 'text'),
    ('start_kind', 'text'),
    ('end_reason', 'text'),
    ('end_derived', 'boolean'),
    ('session_started_at', 'timestamp'),
    ('additional_columns', 'json'),
], selected_by_default=false) }}
