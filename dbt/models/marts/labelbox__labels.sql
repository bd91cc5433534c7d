with labels as (
    select * from {{ ref('stg_labelbox__export_labels') }}
),

data_rows as (
    select * from {{ ref('stg_labelbox__data_row_exports') }}
),

people as (
    select * from {{ ref('int_labelbox__people') }}
),

contents as (
    select
        project_id,
        data_row_id,
        label_id,
        count(distinct case when annotation_type = 'object' then instance_id end) as object_count,
        count(distinct case when annotation_type = 'answer' then instance_id end) as answer_count
    from {{ ref('labelbox__annotations') }}
    group by project_id, data_row_id, label_id
),

reviews as (
    select
        reviews.project_id,
        reviews.data_row_id,
        reviews.label_id,
        count(*) as review_count,
        {{ labelbox.labelbox_integer('sum(case when reviews.score > 0 then 1 else 0 end)') }} as approval_count,
        {{ labelbox.labelbox_integer('sum(case when reviews.score < 0 then 1 else 0 end)') }} as rejection_count
    from {{ ref('stg_labelbox__label_reviews') }} as reviews
    inner join data_rows
        on reviews.project_id = data_rows.project_id
        and reviews.data_row_id = data_rows.data_row_id
        and {{ labelbox.labelbox_is_current('reviews', 'data_rows') }}
    group by reviews.project_id, reviews.data_row_id, reviews.label_id
),

reworks as (
    select
        labels.project_id,
        labels.data_row_id,
        labels.label_id,
        count(*) as rework_count
    from labels
    inner join {{ ref('labelbox__workflow_events') }} as events
        on labels.project_id = events.project_id
        and labels.data_row_id = events.data_row_id
        and labels.created_at <= events.event_at
    where events.is_sent_to_rework
    group by labels.project_id, labels.data_row_id, labels.label_id
),

versions as (
    select
        label_id,
        count(*) as version_count
    from {{ ref('stg_labelbox__label_versions') }}
    group by label_id
),

issues as (
    select
        label_id,
        count(*) as issue_count,
        {{ labelbox.labelbox_integer("sum(case when resolved_at is null and coalesce(status, '') <> 'Resolved' then 1 else 0 end)") }}
            as open_issue_count
    from {{ ref('stg_labelbox__issues') }}
    group by label_id
),

known as (
    select
        labels.project_id,
        data_rows.project_name,
        labels.data_row_id,
        labels.label_id,
        data_rows.external_id,
        data_rows.global_key,
        data_rows.dataset_id,
        data_rows.batch_id,
        data_rows.batch_name,
        data_rows.media_asset_type as media_type,
        data_rows.workflow_status,
        data_rows.selected_label_id,
        {{ labelbox.labelbox_labeler(
            'labels.created_by_email, listed.created_by_email', 'listed.created_by_id'
        ) }} as labeler,
        coalesce(listed.created_by_id, people.user_id) as labeler_id,
        coalesce(labels.created_by_email, listed.created_by_email) as labeler_email,
        people.name as labeler_name,
        people.is_external as is_external_labeler,
        labels.created_at,
        labels.updated_at,
        labels.content_last_updated_at,
        coalesce(labels.is_skipped, false) as is_skipped,
        coalesce(labels.reference_label_id = labels.label_id, false) as is_benchmark,
        coalesce(labels.seconds_to_label, labels.seconds_to_create) as seconds_to_label,
        labels.seconds_to_review,
        labels.seconds_to_rework,
        coalesce(
            labels.seconds_total,
            coalesce(labels.seconds_to_label, labels.seconds_to_create)
            + coalesce(labels.seconds_to_review, 0)
            + coalesce(labels.seconds_to_rework, 0)
        ) as seconds_total,
        labels.agreement,
        labels.benchmark_agreement,
        labels.last_activity_at
    from labels
    inner join data_rows
        on labels.project_id = data_rows.project_id
        and labels.data_row_id = data_rows.data_row_id
        and {{ labelbox.labelbox_is_current('labels', 'data_rows') }}
    left join {{ ref('stg_labelbox__labels') }} as listed on labels.label_id = listed.id
    left join people
        on lower(labels.created_by_email) = people.email_key
        and people.is_first_of_email
),

ranked as (
    select
        known.*,
        row_number() over (
            partition by project_id, data_row_id
            order by
                case when is_skipped then 1 else 0 end,
                case when created_at is null then 1 else 0 end,
                created_at desc,
                label_id desc
        ) as place_by_age,
        row_number() over (
            partition by project_id, data_row_id
            order by
                case when is_skipped then 1 else 0 end,
                case when label_id = selected_label_id then 0 else 1 end,
                case when created_at is null then 1 else 0 end,
                created_at desc,
                label_id desc
        ) as place
    from known
)

select
    ranked.project_id,
    ranked.project_name,
    ranked.data_row_id,
    ranked.label_id,
    ranked.external_id,
    ranked.global_key,
    ranked.dataset_id,
    ranked.batch_id,
    ranked.batch_name,
    ranked.media_type,
    ranked.workflow_status,
    ranked.labeler,
    ranked.labeler_id,
    ranked.labeler_email,
    ranked.labeler_name,
    ranked.is_external_labeler,
    ranked.created_at,
    {{ labelbox.labelbox_day('ranked.created_at') }} as date_day,
    {{ labelbox.labelbox_week('ranked.created_at') }} as date_week,
    ranked.updated_at,
    ranked.content_last_updated_at,
    ranked.is_skipped,
    ranked.place_by_age = 1 and not ranked.is_skipped as is_latest,
    ranked.place = 1 and not ranked.is_skipped as is_selected,
    ranked.is_benchmark,
    ranked.seconds_to_label,
    ranked.seconds_to_review,
    ranked.seconds_to_rework,
    ranked.seconds_total,
    ranked.agreement,
    ranked.benchmark_agreement,
    coalesce(contents.object_count, 0) as object_count,
    coalesce(contents.answer_count, 0) as answer_count,
    coalesce(reviews.review_count, 0) as review_count,
    coalesce(reviews.approval_count, 0) as approval_count,
    coalesce(reviews.rejection_count, 0) as rejection_count,
    coalesce(reworks.rework_count, 0) as rework_count,
    coalesce(versions.version_count, 0) as version_count,
    coalesce(issues.issue_count, 0) as issue_count,
    coalesce(issues.open_issue_count, 0) as open_issue_count,
    ranked.last_activity_at
from ranked
left join contents
    on ranked.project_id = contents.project_id
    and ranked.data_row_id = contents.data_row_id
    and ranked.label_id = contents.label_id
left join reviews
    on ranked.project_id = reviews.project_id
    and ranked.data_row_id = reviews.data_row_id
    and ranked.label_id = reviews.label_id
left join reworks
    on ranked.project_id = reworks.project_id
    and ranked.data_row_id = reworks.data_row_id
    and ranked.label_id = reworks.label_id
left join versions on ranked.label_id = versions.label_id
left join issues on ranked.label_id = issues.label_id
