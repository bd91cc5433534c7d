with versions as (
    select
        versions.*,
        row_number() over (
            partition by label_id order by created_at, id
        ) as version_number,
        lag(id) over (partition by label_id order by created_at, id) as previous_version_id,
        lag(created_at) over (partition by label_id order by created_at, id) as previous_at,
        lag(annotation_count) over (partition by label_id order by created_at, id)
            as previous_annotation_count,
        lag(label) over (partition by label_id order by created_at, id) as previous_label,
        first_value(created_by_id) over (
            partition by label_id order by created_at, id
            rows between unbounded preceding and unbounded following
        ) as first_created_by_id
    from {{ ref('stg_labelbox__label_versions') }} as versions
),

people as (
    select * from {{ ref('int_labelbox__people') }}
)

select
    versions.id as version_id,
    versions.project_id,
    versions.data_row_id,
    versions.label_id,
    versions.version_number,
    versions.action,
    versions.created_at,
    {{ labelbox.labelbox_day('versions.created_at') }} as date_day,
    {{ labelbox.labelbox_labeler('editors.email', 'versions.created_by_id') }} as editor,
    coalesce(labels.labeler, {{ labelbox.labelbox_labeler(
        'submitters.email', 'versions.first_created_by_id'
    ) }}) as labeler,
    versions.stage_name as step_name,
    versions.previous_version_id,
    {{ labelbox.labelbox_seconds('versions.previous_at', 'versions.created_at') }}
        as seconds_since_previous,
    versions.annotation_count,
    versions.annotation_count - versions.previous_annotation_count as annotation_count_change,
    versions.label <> versions.previous_label as is_content_changed,
    coalesce(
        versions.created_by_id <> coalesce(labels.labeler_id, versions.first_created_by_id),
        false
    ) as is_by_other,
    labels.label_id is null as is_label_deleted
from versions
left join {{ ref('labelbox__labels') }} as labels
    on versions.project_id = labels.project_id
    and versions.data_row_id = labels.data_row_id
    and versions.label_id = labels.label_id
left join people as editors on versions.created_by_id = editors.user_id
left join people as submitters on versions.first_created_by_id = submitters.user_id
