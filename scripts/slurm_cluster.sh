#!/bin/bash
# A Slurm cluster of one node on this machine, for tests: `scripts/slurm_cluster.sh start` and `stop`, as root, on Debian or Ubuntu.
# It has the partitions `main` and `urgent`; a job in `urgent` preempts those in `main`, which are requeued.
set -euo pipefail
folder=${RPE_SLURM:-/var/lib/rpe-slurm}
export SLURM_CONF=/etc/slurm/slurm.conf

configuration() {
  cat <<CONF
ClusterName=rpe
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=0,batch_sched_delay=0
KillWait=15
MinJobAge=10
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=2 RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 PriorityTier=1 GraceTime=10 State=UP
PartitionName=urgent Nodes=ALL MaxTime=60 PriorityTier=10 State=UP
CONF
}

start() {
  command -v slurmctld slurmd munged > /dev/null || { apt-get update -q && apt-get install -y -q slurm-wlm munge; }
  mkdir -p "$folder"/{state,spool} /etc/slurm /run/munge
  [ -s /etc/munge/munge.key ] || { head -c 1024 /dev/urandom > /etc/munge/munge.key; }
  chown munge: /etc/munge/munge.key /run/munge
  chmod 400 /etc/munge/munge.key
  pgrep -x munged > /dev/null || runuser -u munge -- munged
  configuration > "$SLURM_CONF"
  pgrep -x slurmctld > /dev/null || slurmctld
  pgrep -x slurmd > /dev/null || slurmd
  for _ in $(seq 60); do
    sinfo --noheader --format %T 2> /dev/null | grep -q -e idle -e mixed -e allocated && return
    sleep 1
  done
  tail -n 5 "$folder"/*.log >&2
  return 1
}

stop() {
  scancel --user=root 2> /dev/null || true
  for daemon in slurmd slurmctld; do
    [ -s "$folder/$daemon.pid" ] && kill "$(cat "$folder/$daemon.pid")" || true
  done
}

case ${1:-} in
  start) start; sinfo ;;
  stop) stop ;;
  *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
