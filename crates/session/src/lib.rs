//! The client-edge conversation as two state machines without clock or socket.
