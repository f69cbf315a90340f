"""Real nodes on this machine, without a hypervisor: systemd-nspawn machines on a bridge in network namespaces.

    controller (namespace `setu-lab`, 10.88.0.1) --+-- node1 10.88.0.11, node2 ... : booted by systemd, reached over SSH
    trunk  (namespace `setu-trunk`, 10.88.0.100) --+
    phone  (namespace `setu-phone`, 10.88.0.101) --+

Nothing of the host is visible in a node but its kernel. The nodes reach the package mirrors through the controller's namespace.
"""
