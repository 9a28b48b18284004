"""The merge by hand, with deltalake. `merge_peer.py TABLE CHANGED`."""

import sys

import pyarrow.parquet as pq
from deltalake import DeltaTable

table, changed = sys.argv[1:]
source = pq.read_table(changed)
merger = DeltaTable(table).merge(source, "t.id = s.id", source_alias="s", target_alias="t")
merger.when_matched_update_all().when_not_matched_insert_all().execute()
