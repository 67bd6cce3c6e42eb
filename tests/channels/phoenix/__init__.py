"""What Phoenix's own tests assert of a server, where no test of a module shows it: over sockets."""
