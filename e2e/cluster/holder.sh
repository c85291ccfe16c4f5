#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# holder.sh SCRATCH NODE ADDRESS [SOURCE TARGET]...: run in new mount, network and uts namespaces, it furnishes them and
# stays as what they are entered by. It mounts each SOURCE over its TARGET and makes no file outside of SCRATCH.
set -eu
scratch=$1
node=$2
address=$3
shift 3

mount -n --make-rshared /
while [ $# -gt 0 ]; do
	mount -n --bind "$1" "$2"
	shift 2
done
# etcd waits for the disk after every write, and nobody needs what it wrote once the cluster has ended.
mount -n -t tmpfs -o size=2g etcd "$scratch/etcd"
hostname "$node"
ip link set lo up
# The node's address; both ends of the pair stay here. A kernel need not have dummy interfaces.
ip link add node0 type veth peer name node1
ip address add "$address/24" dev node0
ip link set node0 up
ip link set node1 up
ip route add default dev node0
echo >"$scratch/furnished"
exec sleep infinity
