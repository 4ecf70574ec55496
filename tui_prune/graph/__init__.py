"""Which channels stand and fall together: labels, tracer, rules and graph."""
