"""socket(2) and send(2): families, types, protocols, flags.

From include/linux/socket.h, include/uapi/linux/in.h, netlink.h and if_ether.h.
"""

from __future__ import annotations

__all__ = [
    "FAMILIES",
    "IPV6_ROUTING",
    "IP_PROTOCOLS",
    "IP_ROUTING",
    "MESSAGE_FLAGS",
    "NETLINK_PROTOCOLS",
    "SOCKET_FLAGS",
    "SOCKET_LEVELS",
    "SOCKET_ROUTING",
    "SOCKET_TYPES",
]

FAMILIES: dict[str, int] = {
    "AF_UNSPEC": 0,
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_AX25": 3,
    "AF_IPX": 4,
    "AF_APPLETALK": 5,
    "AF_NETROM": 6,
    "AF_BRIDGE": 7,
    "AF_ATMPVC": 8,
    "AF_X25": 9,
    "AF_INET6": 10,
    "AF_ROSE": 11,
    "AF_DECnet": 12,
    "AF_NETBEUI": 13,
    "AF_SECURITY": 14,
    "AF_KEY": 15,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "AF_ASH": 18,
    "AF_ECONET": 19,
    "AF_ATMSVC": 20,
    "AF_RDS": 21,
    "AF_SNA": 22,
    "AF_IRDA": 23,
    "AF_PPPOX": 24,
    "AF_WANPIPE": 25,
    "AF_LLC": 26,
    "AF_IB": 27,
    "AF_MPLS": 28,
    "AF_CAN": 29,
    "AF_TIPC": 30,
    "AF_BLUETOOTH": 31,
    "AF_IUCV": 32,
    "AF_RXRPC": 33,
    "AF_ISDN": 34,
    "AF_PHONET": 35,
    "AF_IEEE802154": 36,
    "AF_CAIF": 37,
    "AF_ALG": 38,
    "AF_NFC": 39,
    "AF_VSOCK": 40,
    "AF_KCM": 41,
    "AF_QIPCRTR": 42,
    "AF_SMC": 43,
    "AF_XDP": 44,
    "AF_MCTP": 45,
}

# Of the argument, the low four bits.
SOCKET_TYPES: dict[str, int] = {
    "SOCK_STREAM": 1,
    "SOCK_DGRAM": 2,
    "SOCK_RAW": 3,
    "SOCK_RDM": 4,
    "SOCK_SEQPACKET": 5,
    "SOCK_DCCP": 6,
    "SOCK_PACKET": 10,
}

SOCKET_FLAGS: dict[str, int] = {
    "SOCK_NONBLOCK": 0o4000,
    "SOCK_CLOEXEC": 0o2000000,
}

# For AF_INET and AF_INET6; other families number their own.
IP_PROTOCOLS: dict[str, int] = {
    "IPPROTO_ICMP": 1,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_ICMPV6": 58,
    "IPPROTO_SCTP": 132,
    "IPPROTO_UDPLITE": 136,
    "IPPROTO_RAW": 255,
    "IPPROTO_MPTCP": 262,
}

NETLINK_PROTOCOLS: dict[str, int] = {
    "NETLINK_ROUTE": 0,
    "NETLINK_USERSOCK": 2,
    "NETLINK_FIREWALL": 3,
    "NETLINK_SOCK_DIAG": 4,
    "NETLINK_NFLOG": 5,
    "NETLINK_XFRM": 6,
    "NETLINK_SELINUX": 7,
    "NETLINK_ISCSI": 8,
    "NETLINK_AUDIT": 9,
    "NETLINK_FIB_LOOKUP": 10,
    "NETLINK_CONNECTOR": 11,
    "NETLINK_NETFILTER": 12,
    "NETLINK_IP6_FW": 13,
    "NETLINK_DNRTMSG": 14,
    "NETLINK_KOBJECT_UEVENT": 15,
    "NETLINK_GENERIC": 16,
    "NETLINK_SCSITRANSPORT": 18,
    "NETLINK_ECRYPTFS": 19,
    "NETLINK_RDMA": 20,
    "NETLINK_CRYPTO": 21,
    "NETLINK_SMC": 22,
}

MESSAGE_FLAGS: dict[str, int] = {
    "MSG_OOB": 1,
    "MSG_PEEK": 2,
    "MSG_DONTROUTE": 4,
    "MSG_CTRUNC": 8,
    "MSG_PROXY": 0x10,
    "MSG_TRUNC": 0x20,
    "MSG_DONTWAIT": 0x40,
    "MSG_EOR": 0x80,
    "MSG_WAITALL": 0x100,
    "MSG_FIN": 0x200,
    "MSG_SYN": 0x400,
    "MSG_CONFIRM": 0x800,
    "MSG_RST": 0x1000,
    "MSG_ERRQUEUE": 0x2000,
    "MSG_NOSIGNAL": 0x4000,
    "MSG_MORE": 0x8000,
    "MSG_WAITFORONE": 0x10000,
    "MSG_BATCH": 0x40000,
    "MSG_ZEROCOPY": 0x4000000,
    "MSG_FASTOPEN": 0x20000000,
    "MSG_CMSG_CLOEXEC": 0x40000000,
}

# From include/linux/socket.h; a protocol's level is its number, and IP's is 0.
SOCKET_LEVELS: dict[str, int] = {
    "SOL_IP": 0,
    "SOL_SOCKET": 1,
    "SOL_TCP": 6,
    "SOL_UDP": 17,
    "SOL_IPV6": 41,
    "SOL_ICMPV6": 58,
    "SOL_SCTP": 132,
    "SOL_UDPLITE": 136,
    "SOL_RAW": 255,
    "SOL_PACKET": 263,
    "SOL_NETLINK": 270,
    "SOL_DCCP": 269,
    "SOL_ALG": 279,
    "SOL_TLS": 282,
    "SOL_XDP": 283,
    "SOL_MPTCP": 284,
    "SOL_VSOCK": 287,
}

# Options by which packets go elsewhere than the address says, by their level. The sender chooses a
# route (a flow label may come with control data that holds one), writes headers with an address of
# their own, has an interface or a routing table of its own choice, by which an address is another
# machine's, or a tunnel (an IPsec policy of one socket).
IP_ROUTING: dict[str, int] = {  # include/uapi/linux/in.h
    "IP_HDRINCL": 3,
    "IP_OPTIONS": 4,
    "IP_IPSEC_POLICY": 16,
    "IP_XFRM_POLICY": 17,
    "IP_UNICAST_IF": 50,
}
IPV6_ROUTING: dict[str, int] = {  # include/uapi/linux/in6.h
    "IPV6_2292PKTOPTIONS": 6,
    "IPV6_FLOWLABEL_MGR": 32,
    "IPV6_IPSEC_POLICY": 34,
    "IPV6_XFRM_POLICY": 35,
    "IPV6_HDRINCL": 36,
    "IPV6_PKTINFO": 50,
    "IPV6_RTHDR": 57,
    "IPV6_UNICAST_IF": 76,
}
SOCKET_ROUTING: dict[str, int] = {  # include/uapi/asm-generic/socket.h
    "SO_DONTROUTE": 5,
    "SO_BINDTODEVICE": 25,
    "SO_MARK": 36,
    "SO_BINDTOIFINDEX": 62,
}
