#!/usr/bin/env bash
# A world around this machine: a network `outside` that reaches it as 203.0.113.7, and in it at 192.0.2.2 a name server
# (challtestsrv), an authority (pebble) behind a gate that counts and turns away (gate.py), and one that signs for a minute.
set -euo pipefail
umask 022
mkdir -p /run/world
cd /run/world

ip netns add outside
ip link add wan type veth peer name eth0 netns outside
ip address add 203.0.113.7/24 dev wan
ip address add 203.0.113.8/24 dev wan # by which it goes out
ip link set wan up
ip -netns outside address add 203.0.113.1/24 dev eth0
ip -netns outside address add 192.0.2.2/32 dev eth0
ip -netns outside link set lo up
ip -netns outside link set eth0 up
ip route add 192.0.2.2/32 dev wan src 203.0.113.8

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=world -keyout ca.key -out root.pem \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=authority -keyout key.pem -out request.pem 2>/dev/null
openssl x509 -req -in request.pem -CA root.pem -CAkey ca.key -days 30 -out cert.pem \
    -extfile <(printf 'subjectAltName=IP:192.0.2.2\nauthorityKeyIdentifier=keyid\n') 2>/dev/null

pebble() { # name, port, seconds a certificate is good for
    cat > "$1.json" <<END
{"pebble": {"listenAddress": "192.0.2.2:$2", "managementListenAddress": "192.0.2.2:$(($2 + 1))", "httpPort": 80, "tlsPort": 443,
 "certificate": "/run/world/cert.pem", "privateKey": "/run/world/key.pem", "certificateValidityPeriod": $3}}
END
    start "$1" /usr/bin/pebble -config "/run/world/$1.json" -dnsserver 192.0.2.2:53
}
start() { # name, command
    local name=$1
    shift
    cat > "/run/systemd/system/world-$name.service" <<END
[Service]
NetworkNamespacePath=/run/netns/outside
Environment=PEBBLE_VA_NOSLEEP=1 PEBBLE_WFE_NONCEREJECT=0 PEBBLE_AUTHZREUSE=0
ExecStart=$*
END
    systemctl daemon-reload
    systemctl start "world-$name"
}
start dns /usr/bin/pebble-challtestsrv -dns01 192.0.2.2:53 -management 192.0.2.2:8055 \
    -defaultIPv4 "''" -defaultIPv6 "''" -http01 "''" -https01 "''" -tlsalpn01 "''"
pebble authority 14000 7776000
pebble minute 14010 60
start gate /usr/bin/python3 /usr/local/lib/gate.py
for port in 53 443 8055 14000 14010; do
    for _ in $(seq 100); do
        if (exec 3<>"/dev/tcp/192.0.2.2/$port") 2>/dev/null; then break; fi
        sleep 0.1
    done
    exec 3<>"/dev/tcp/192.0.2.2/$port"
    exec 3>&-
done
mv root.pem ca.pem
