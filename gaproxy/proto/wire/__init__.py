"""What lies below the replay line: TLS and the end of a body, as pure objects that only the sockets use."""
