//! Containers and images: the operations behind every front end.
