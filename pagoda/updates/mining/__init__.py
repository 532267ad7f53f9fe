"""Hard negatives: what a version finds for each of its users at ranks that are near, yet not shown."""
