"""``scope bench serve``: an unpruned and a pruned vLLM engine in turns, under concurrent clients."""
