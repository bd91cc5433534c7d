"""All that touches the Singer SDK: messages, state, catalog, maps, batch files."""
