"""Several nodes of a Ray cluster on this machine; each line on standard input kills one of them.

python tests/ray_nodes.py 2         prints the address once both nodes are there
"""

import sys

from ray.cluster_utils import Cluster

CHECKS = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300}
"""A dead node is found out at once."""


def main() -> None:
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": CHECKS}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(int(sys.argv[1]))]
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(nodes.pop(), allow_graceful=False)
    cluster.shutdown()


if __name__ == "__main__":
    main()
