with labels as (
    select
        project_id,
        project_name,
        date_day,
        labeler,
        count(*) as label_count,
        sum(case when is_skipped then 1 else 0 end) as skipped_count,
        count(distinct data_row_id) as data_row_count,
        sum(object_count) as object_count,
        sum(answer_count) as answer_count,
        0 as review_given_count,
        0 as rejection_given_count,
        sum(coalesce(seconds_to_label, 0)) as seconds_labeling,
        sum(coalesce(seconds_to_review, 0)) as seconds_reviewing,
        sum(coalesce(seconds_to_rework, 0)) as seconds_reworking
    from {{ ref('labelbox__labels') }}
    where created_at is not null
    group by project_id, project_name, date_day, labeler
),

reviews as (
    select
        reviews.project_id,
        data_rows.project_name,
        {{ labelbox.labelbox_day('reviews.created_at') }} as date_day,
        {{ labelbox.labelbox_labeler('reviews.created_by_email') }} as labeler,
        0 as label_count,
        0 as skipped_count,
        0 as data_row_count,
        0 as object_count,
        0 as answer_count,
        count(*) as review_given_count,
        sum(case when reviews.score < 0 then 1 else 0 end) as rejection_given_count,
        0 as seconds_labeling,
        0 as seconds_reviewing,
        0 as seconds_reworking
    from {{ ref('stg_labelbox__label_reviews') }} as reviews
    inner join {{ ref('stg_labelbox__data_row_exports') }} as data_rows
        on reviews.project_id = data_rows.project_id
        and reviews.data_row_id = data_rows.data_row_id
        and {{ labelbox.labelbox_is_current('reviews', 'data_rows') }}
    where reviews.created_at is not null
    group by
        reviews.project_id,
        data_rows.project_name,
        {{ labelbox.labelbox_day('reviews.created_at') }},
        {{ labelbox.labelbox_labeler('reviews.created_by_email') }}
),

work as (
    select * from labels
    union all
    select * from reviews
)

select
    project_id,
    max(project_name) as project_name,
    date_day,
    {{ labelbox.labelbox_week('date_day') }} as date_week,
    labeler,
    {{ labelbox.labelbox_integer('sum(label_count)') }} as label_count,
    {{ labelbox.labelbox_integer('sum(skipped_count)') }} as skipped_count,
    {{ labelbox.labelbox_integer('sum(data_row_count)') }} as data_row_count,
    {{ labelbox.labelbox_integer('sum(object_count)') }} as object_count,
    {{ labelbox.labelbox_integer('sum(answer_count)') }} as answer_count,
    {{ labelbox.labelbox_integer('sum(review_given_count)') }} as review_given_count,
    {{ labelbox.labelbox_integer('sum(rejection_given_count)') }} as rejection_given_count,
    {{ labelbox.labelbox_number('sum(seconds_labeling)') }} / 3600 as hours_labeling,
    {{ labelbox.labelbox_number('sum(seconds_reviewing)') }} / 3600 as hours_reviewing,
    {{ labelbox.labelbox_number('sum(seconds_reworking)') }} / 3600 as hours_reworking
from work
group by project_id, date_day, labeler
