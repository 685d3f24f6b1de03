"""Speed and memory of the data plane, beside the physical limit or a named peer measured in the same run."""
