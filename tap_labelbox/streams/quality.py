"""Quality of labels: benchmarks, reviews, and totals by labeler."""

from __future__ import annotations

from tap_labelbox.base.stream import LabelboxStream
from tap_labelbox.records.columns import (
    EMAIL,
    email,
    identifier,
    integer,
    key,
    number,
    table,
    timestamp,
)


class BenchmarksStream(LabelboxStream):
    """Every label that others are measured against.

    Good for agreement with experts.
    """

    name = "benchmarks"
    schema = table(
        key("id", "Benchmark ID."),
        identifier("project_id", "ID of the project."),
        identifier(
            "reference_label_id",
            "ID of the benchmark label: the one that others are measured against.",
        ),
        identifier("created_by_id", "ID of the user who made it a benchmark."),
        number("average_agreement", "Mean agreement of other labels with it, 0 to 1."),
        integer("completed_count", "Labels that were measured against it."),
        timestamp("last_activity", "Latest label that was measured against it."),
        timestamp("created_at", "When it was made a benchmark."),
    )


class LabelerPerformanceStream(LabelboxStream):
    """Every labeler's totals in every project, of all time.

    Good for a first look. For periods there are reports.
    """

    name = "labeler_performance"
    primary_keys = ("project_id", "user_id")
    selected_by_default = False
    schema = table(
        key("project_id", "ID of the project."),
        key("user_id", "ID of the user."),
        email("user_email", "E-mail address of the user.", personal=EMAIL),
        integer("count", "Number of labels: those that the user made."),
        number("seconds_per_label", "Mean time for a label, in seconds."),
        number("total_time_labeling", "Seconds of labeling in all."),
        number("consensus", "Mean consensus with other labels."),
        number("average_benchmark_agreement", "Mean agreement with benchmarks."),
        timestamp(
            "last_activity_time",
            "Latest activity: when the user last labeled in the project.",
        ),
    )


class ReviewMetricsStream(LabelboxStream):
    """Labels of every project, counted by the sum of their review scores.

    Good for the share that is rejected.
    """

    name = "review_metrics"
    nested_in, nested_key, alias_column = "_scores", "project_id", "net_score"
    primary_keys = ("project_id", "net_score")
    selected_by_default = False
    schema = table(
        key("project_id", "ID of the project."),
        key("net_score", "Sum of the scores: None, Negative, Zero or Positive."),
        integer(
            "count",
            "Number of labels: those whose reviews sum up so. What None counts, "
            "Labelbox does not say.",
        ),
    )


class ReviewsStream(LabelboxStream):
    """Every review with an ID of its own, of all labels each time.

    Good for reviews that change; what `label_reviews` lacks of them is the ID.
    """

    name = "reviews"
    nested_in, nested_key = "_reviews", "label_id"
    selected_by_default = False
    schema = table(
        key("id", "Review ID."),
        identifier("label_id", "ID of the label."),
        identifier("project_id", "ID of the project."),
        number("score", "1 approves, -1 rejects."),
        identifier("created_by_id", "ID of the reviewer."),
        timestamp("created_at", "When it was given."),
        timestamp("updated_at", "Latest change to it."),
    )
