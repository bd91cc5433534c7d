"""All streams: the only list of them."""

from tap_labelbox.streams.bulk_export import BulkExportStream
from tap_labelbox.streams.labels import LabelsStream
from tap_labelbox.streams.projects import ProjectsStream

STREAMS = (ProjectsStream, LabelsStream, BulkExportStream)
