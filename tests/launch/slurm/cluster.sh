#!/usr/bin/env bash
# A Slurm cluster of one machine in a directory of its own, without systemd and without touching /etc.
#
#   cluster.sh up DIR [GPUS]    start munged, slurmctld and slurmd; with GPUS, the node has so many that are plain files
#   cluster.sh down DIR         stop them
#
# Afterwards `SLURM_CONF=DIR/slurm.conf sbatch ...` talks to it. Needs Debian's slurmctld, slurmd, slurm-client and munge, and root,
# as slurmd changes to the user of each job.
set -euo pipefail

start() {
  local name=$1
  shift
  setsid "$@" > "$directory/$name.out" 2>&1 < /dev/null &
  echo $! > "$directory/$name.pid"
}

stop() {
  local name pid
  for name in slurmd slurmctld munged; do
    [[ -f "$directory/$name.pid" ]] || continue
    pid=$(< "$directory/$name.pid")
    kill "$pid" 2> /dev/null || true
    for _ in {1..50}; do
      kill -0 "$pid" 2> /dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2> /dev/null || true
    rm "$directory/$name.pid"
  done
}

configure() {
  local host gpus=$1 gres=''
  host=$(hostname -s)
  cat << CONFIGURATION
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$((40000 + $$ % 10000))
SlurmdPort=$((50000 + $$ % 10000))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$directory/munge.socket
CredType=cred/munge
StateSaveLocation=$directory/state
SlurmdSpoolDir=$directory/spool
SlurmctldPidFile=$directory/slurmctld.own.pid
SlurmdPidFile=$directory/slurmd.own.pid
SlurmctldLogFile=$directory/slurmctld.log
SlurmdLogFile=$directory/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
KillWait=30
SlurmdTimeout=60
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CONFIGURATION
  # The node claims more cores than it may have: what is tested is what Slurm does, not how fast.
  echo "SlurmdParameters=config_overrides"
  if ((gpus)); then
    echo "GresTypes=gpu"
    gres=" Gres=gpu:h100:$gpus"
  fi
  echo "NodeName=$host NodeAddr=127.0.0.1 CPUs=16 RealMemory=4000$gres State=UNKNOWN"
  echo "PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=20"
  echo "PartitionName=urgent Nodes=$host MaxTime=INFINITE State=UP PriorityTier=2"
}

up() {
  local gpus=${1:-0} index
  mkdir -p "$directory"/{state,spool}
  chmod 755 "$directory"
  trap 'stop' ERR
  configure "$gpus" > "$directory/slurm.conf"
  export SLURM_CONF=$directory/slurm.conf
  if ((gpus)); then
    for ((index = 0; index < gpus; index++)); do
      touch "$directory/gpu$index"
    done
    echo "NodeName=$(hostname -s) Name=gpu Type=h100 File=$directory/gpu[0-$((gpus - 1))]" > "$directory/gres.conf"
  fi
  (umask 077 && head -c 128 /dev/urandom > "$directory/munge.key")
  start munged munged --foreground --force --socket "$directory/munge.socket" --key-file "$directory/munge.key" \
    --pid-file "$directory/munged.own.pid" --log-file "$directory/munged.log" --seed-file "$directory/munge.seed"
  for _ in {1..50}; do
    [[ -S "$directory/munge.socket" ]] && break
    sleep 0.1
  done
  start slurmctld slurmctld -D
  start slurmd slurmd -D
  for _ in {1..60}; do
    if [[ $(sinfo -h -o %t 2> /dev/null | sort -u) == idle ]]; then
      return 0
    fi
    sleep 0.5
  done
  tail -n 20 "$directory"/*.out "$directory"/*.log >&2
  return 1
}

directory=$(realpath -m "${2:?usage: $0 up|down DIR [GPUS]}")
PATH=$PATH:/usr/sbin
case $1 in
  up) up "${3:-0}" ;;
  down) stop ;;
  *) exit 2 ;;
esac
