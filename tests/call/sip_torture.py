"""Messages that try a SIP parser: one for each case of RFC 4475, named as there, and some of our own. Pure.

The messages are ours, made after what the RFC says each case is about; addresses are of the documentation ranges. Written with `\n`;
`wire` makes what is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ANSWERED = frozenset(["1", "2", "3", "4", "5", "6"])
REFUSED = frozenset(["4", "5", "6"])


@dataclass(frozen=True, slots=True)
class Case:
    section: str
    """Of RFC 4475; `-`: our own."""
    name: str
    make: Callable[[str], bytes]
    """From a Call-ID."""
    classes: frozenset[str]
    """First digits of statuses it may be answered with; it may always be left without an answer."""


def request(first: str, call_id: str, *lines: str, body: str = "", without: tuple[str, ...] = (), length: str | None = None) -> bytes:
    """A request: these lines, and those every request has where they are not among them."""
    method = first.split(" ", 1)[0]
    given = {line.partition(":")[0].strip().lower() for line in lines}
    usual = {
        "via": "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" + call_id[:12] + ";rport",
        "max-forwards": "Max-Forwards: 70",
        "from": "From: <sip:caller@example.net>;tag=from" + call_id[:6],
        "to": "To: <sip:1800@example.com>",
        "call-id": f"Call-ID: {call_id}",
        "cseq": f"CSeq: 1 {method}",
        "contact": "Contact: <sip:caller@192.0.2.1>",
        "content-length": f"Content-Length: {len(body.encode()) if length is None else length}",
    }
    rest = [line for name, line in usual.items() if name not in given and name not in without]
    return wire("\n".join([first, *rest[:-1], *lines, *rest[-1:], "", body]))


def wire(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("utf-8", "surrogateescape")


SDP = (
    "v=0\no=mhandley 29739 7272939 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\nm=audio 49217 RTP/AVP 0 12\n"
    "m=video 3227 RTP/AVP 31\na=rtpmap:31 LPC\n"
)
SDP_LINE = "Content-Type: application/sdp"
INVITE, OPTIONS, REGISTER = (
    "INVITE sip:1800@example.com SIP/2.0",
    "OPTIONS sip:1800@example.com SIP/2.0",
    "REGISTER sip:example.com SIP/2.0",
)
AGENT = ("To: <sip:agent1@example.com>", "From: <sip:agent1@example.com>;tag=r")
LONG = "x" * 400


def _c(section: str, name: str, classes: frozenset[str], make: Callable[[str], bytes]) -> Case:
    return Case(section, name, make, classes)


VALID = [
    _c(
        "3.1.1.1",
        "wsinv",
        ANSWERED,
        lambda i: wire(
            "INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0\n"
            "TO :\n sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n\n"
            f'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>\n  ;\n  tag = 98asjd8\nMaX-fOrWaRdS: 0068\nCall-ID: {i}\n'
            "cseq: 0009\n  INVITE\nVia  : SIP  /   2.0\n /UDP\n    192.0.2.2;branch=390skdjuw;rport\ns :\n"
            "NewFangledHeader:   newfangled value\n continued newfangled value\nUnknownHeaderWithUnusualValue: ;;,,;;,;\n"
            "Content-Type: application/sdp\nRoute:\n <sip:services.example.com;lr;unknownwith=value;unknown-no-value>\n"
            'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =\n      newvalue ;\n  secondparam ; q = 0.33\n'
            f"Content-Length: {len(wire(SDP))}\n\n{SDP}"
        ),
    ),
    _c(
        "3.1.1.2",
        "intmeth",
        ANSWERED,
        lambda i: request(
            "!interesting-Method0123456789_*+`.%indeed'~ sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*"
            "pas$wo~d_too.(doesn't-it)@example.com SIP/2.0",
            i,
            'To: "BEL:\\\x07 NUL:\\\x01 DEL:\\\x7f" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>',
            "From: token1~` token2'+_ token3*%!.- <sip:mundane@example.com>;fromParam''~+*_!.-%=\"\u0440\u0430\";tag=_token~1'+`*%!-.",
            "CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed'~",
            "extensionHeader-!.%*+_`'~: \ufeff\u5927\u505c\u96fb",
        ),
    ),
    _c("3.1.1.3", "esc01", ANSWERED, lambda i: request("INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0", i, SDP_LINE, body=SDP)),
    _c(
        "3.1.1.4",
        "escnull",
        ANSWERED,
        lambda i: request(
            REGISTER,
            i,
            "To: <sip:null-%00-null@example.com>",
            "From: <sip:null-%00-null@example.com>;tag=8",
            "Contact: <sip:%00@192.0.2.1>",
        ),
    ),
    _c(
        "3.1.1.5",
        "esc02",
        ANSWERED,
        lambda i: request(
            "RE%47IST%45R sip:registrar.example.com SIP/2.0", i, "Contact: <sip:alias1@host1.example.com>", "CSeq: 1 RE%47IST%45R"
        ),
    ),
    _c(
        "3.1.1.6",
        "lwsdisp",
        ANSWERED,
        lambda i: request(OPTIONS, i, "From: caller<sip:caller@example.com>;tag=323"),
    ),
    _c(
        "3.1.1.7",
        "longreq",
        ANSWERED,
        lambda i: request(
            INVITE,
            i,
            f'To: "I have a user name of {"extreme" * 30} proportion"<sip:user@example.com:6000;unknownparam1={LONG};lr;tag=x{LONG}>',
            f"From: sip:{'amazing' * 30}caller@example.net;tag=12982{'424' * 60};unknownheaderparam{LONG}={LONG};gruu{LONG}",
            *[f"Via: SIP/2.0/UDP sip{n}.example.com;branch=z9hG4bK{n}{LONG}" for n in range(33, 0, -1)],
            f"Unknown-{LONG}-Name: {LONG}",
            f"Contact: <sip:{'amazing' * 30}caller@host5.example.net>",
            SDP_LINE,
            body=SDP,
        ),
    ),
    _c(
        "3.1.1.8",
        "dblreq",
        ANSWERED,
        lambda i: request(REGISTER, i) + request("INVITE sip:joe@example.com SIP/2.0", i + "b", SDP_LINE, body=SDP),
    ),
    _c("3.1.1.9", "semiuri", ANSWERED, lambda i: request("OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0", i)),
    _c(
        "3.1.1.10",
        "transports",
        ANSWERED,
        lambda i: request(
            OPTIONS,
            i,
            "Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw;rport",
            "Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf",
            "Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj",
            "Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en",
            "Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee",
        ),
    ),
    _c(
        "3.1.1.11",
        "mpart01",
        ANSWERED,
        lambda i: request(
            "MESSAGE sip:1800@example.com SIP/2.0",
            i,
            "Content-Type: multipart/mixed;boundary=7a9cbec02ceef655",
            body="--7a9cbec02ceef655\nContent-Type: text/plain\nContent-Transfer-Encoding: binary\n\nHello\x00\x01\n--7a9cbec02ceef655\n"
            "Content-Type: application/octet-stream\n\n\x00\x7f\x80\xff\n--7a9cbec02ceef655--",
        ),
    ),
    _c(
        "3.1.1.12",
        "unreason",
        frozenset(),
        lambda i: wire(
            "SIP/2.0 200 = 2**3 * 5**2 \u043d\u043e \u0441\u0442\u043e\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\n"
            f"Call-ID: {i}\nCSeq: 35 INVITE\nFrom: <sip:user@example.com>;tag=1\nTo: <sip:user@example.edu>;tag=2\nContact: <sip:u@h>\n"
            f"Content-Length: {len(wire(SDP))}\nContent-Type: application/sdp\n\n{SDP}"
        ),
    ),
    _c(
        "3.1.1.13",
        "noreason",
        frozenset(),
        lambda i: wire(
            f"SIP/2.0 100 \nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\nCall-ID: {i}\nCSeq: 35 INVITE\n"
            "From: <sip:user@example.com>;tag=39ansfi3\nTo: <sip:user@example.edu>;tag=902jndnke3\nContent-Length: 0\n\n"
        ),
    ),
]

INVALID = [
    _c(
        "3.1.2.1",
        "badinv01",
        REFUSED,
        lambda i: request(
            INVITE,
            i,
            "To: sip:j.user@example.com",
            "From: sip:caller@example.net;tag=134161461246",
            'Contact: "Joe" <sip:joe@example.org>;;;;',
            "Via: SIP/2.0/UDP 192.0.2.15;;,;,,",
            SDP_LINE,
            body=SDP,
        ),
    ),
    _c("3.1.2.2", "clerr", REFUSED, lambda i: request(INVITE, i, SDP_LINE, body=SDP, length="9999")),
    _c("3.1.2.3", "ncl", REFUSED, lambda i: request(INVITE, i, SDP_LINE, body=SDP, length="-999")),
    _c(
        "3.1.2.4",
        "scalar02",
        REFUSED,
        lambda i: request(
            REGISTER,
            i,
            "CSeq: 36893488147419103232 REGISTER",
            "Max-Forwards: 300",
            "Expires: 10000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
            "Contact: <sip:user@host129.example.com>;expires=280297596632815",
        ),
    ),
    _c(
        "3.1.2.5",
        "scalarlg",
        frozenset(),
        lambda i: wire(
            "SIP/2.0 503 Service Unavailable\nVia: SIP/2.0/TCP 192.0.2.129;branch=z9hG4bKzzxdiwo34sw;received=192.0.2.129\n"
            f"To: <sip:user@example.com>\nFrom: <sip:o@example.net>;tag=2easdjfejw\nCSeq: 9292394834772304023312 OPTIONS\nCall-ID: {i}\n"
            'Retry-After: 949302838503028349304023988\nWarning: 1812 overture "In Progress"\nContent-Length: 0\n\n'
        ),
    ),
    _c("3.1.2.6", "quotbal", REFUSED, lambda i: request(INVITE, i, 'To: "Mr. J. User <sip:j.user@example.com>', SDP_LINE, body=SDP)),
    _c("3.1.2.7", "ltgtruri", REFUSED, lambda i: request("INVITE <sip:1800@example.com> SIP/2.0", i, SDP_LINE, body=SDP)),
    _c("3.1.2.8", "lwsruri", REFUSED, lambda i: request("INVITE sip:1800@example.com; lr SIP/2.0", i, SDP_LINE, body=SDP)),
    _c("3.1.2.9", "lwsstart", REFUSED, lambda i: request("INVITE  sip:1800@example.com  SIP/2.0", i, SDP_LINE, body=SDP)),
    _c("3.1.2.10", "trws", REFUSED, lambda i: request("OPTIONS sip:remote-target@example.com SIP/2.0  ", i, "CSeq: 1 OPTIONS")),
    _c(
        "3.1.2.11",
        "escruri",
        REFUSED,
        lambda i: request("INVITE sip:user@example.com?Route=%3Csip:example.com%3E SIP/2.0", i, SDP_LINE, body=SDP),
    ),
    _c("3.1.2.12", "baddate", REFUSED, lambda i: request(INVITE, i, "Date: Fri, 01 Jan 2010 16:00:00 EST", SDP_LINE, body=SDP)),
    _c("3.1.2.13", "regbadct", REFUSED, lambda i: request(REGISTER, i, "Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E")),
    _c(
        "3.1.2.14",
        "badaspec",
        REFUSED,
        lambda i: request("OPTIONS sip:user@example.org SIP/2.0", i, 'To: "Watson, Come Here" <sip:"bell"@x>'),
    ),
    _c("3.1.2.15", "baddn", REFUSED, lambda i: request(OPTIONS, i, "From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43")),
    _c(
        "3.1.2.16",
        "badvers",
        REFUSED,
        lambda i: request("OPTIONS sip:t.watson@example.org SIP/7.0", i, "Via: SIP/7.0/UDP 192.0.2.1;branch=z9hG4bK7;rport"),
    ),
    _c("3.1.2.17", "mismatch01", REFUSED, lambda i: request(OPTIONS, i, "CSeq: 8 INVITE")),
    _c(
        "3.1.2.18",
        "mismatch02",
        REFUSED,
        lambda i: request("NEWMETHOD sip:user@example.com SIP/2.0", i, "CSeq: 8 INVITE", SDP_LINE, body=SDP),
    ),
    _c(
        "3.1.2.19",
        "bigcode",
        frozenset(),
        lambda i: wire(
            "SIP/2.0 4294967301 better not break the receiver\nVia: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe\n"
            f"Call-ID: {i}\nCSeq: 353494 INVITE\nFrom: <sip:u@example.com>;tag=39\nTo: <sip:u@example.edu>;tag=902\nContent-Length: 0\n\n"
        ),
    ),
]

TRANSACTION_AND_APPLICATION = [
    _c("3.2.1", "badbranch", ANSWERED, lambda i: request(OPTIONS, i, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK;rport")),
    _c("3.3.1", "insuf", REFUSED, lambda i: request(INVITE, i, SDP_LINE, body=SDP, without=("to", "call-id", "from"))),
    _c("3.3.2", "unkscm", REFUSED, lambda i: request("OPTIONS nobodyKnowsThisScheme:totallyopaquecontent SIP/2.0", i)),
    _c("3.3.3", "novelsc", REFUSED, lambda i: request("OPTIONS soap.beep://192.0.2.103:3002 SIP/2.0", i)),
    _c(
        "3.3.4",
        "unksm2",
        REFUSED,
        lambda i: request(REGISTER, i, "To: isbn:2983792873", "From: <http://www.example.com>;tag=3", "Contact: <name:John_Smith>"),
    ),
    _c(
        "3.3.5",
        "bext01",
        ANSWERED,
        lambda i: request(OPTIONS, i, "Require: nothingSupportsThis, nothingSupportsThisEither", "Proxy-Require: noProxiesSupportThis"),
    ),
    _c(
        "3.3.6",
        "invut",
        REFUSED,
        lambda i: request(INVITE, i, "Content-Type: application/unknownformat", body="<audio>\n <pcmu/>\n</audio>\n"),
    ),
    _c(
        "3.3.7",
        "regaut01",
        REFUSED,
        lambda i: request(REGISTER, i, *AGENT, "Authorization: NoOneKnowsThisScheme opaque-data=here", "Contact: <sip:agent1@192.0.2.9>"),
    ),
    _c(
        "3.3.8",
        "multi01",
        REFUSED,
        lambda i: request(
            INVITE,
            i,
            "CSeq: 5 INVITE",
            "CSeq: 59 INVITE",
            "Call-ID: 98asdh@192.0.2.1",
            f"Call-ID: {i}",
            "From: sip:caller@example.net;tag=3413415",
            "From: sip:caller@example.net;tag=9923",
            "To: sip:user@example.com",
            "To: sip:other@example.net",
            "Max-Forwards: 5",
            "Max-Forwards: 9",
            SDP_LINE,
            body=SDP,
        ),
    ),
    _c(
        "3.3.9", "mcl01", REFUSED, lambda i: request(OPTIONS, i, "Content-Length: 13", "Content-Length: 5", body="There's no way to know\n")
    ),
    _c(
        "3.3.10",
        "bcast",
        frozenset(),
        lambda i: wire(
            "SIP/2.0 200 OK\nVia: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923\nVia: SIP/2.0/UDP 255.255.255.255;branch=z9hG4bK1saber23\n"
            f"Call-ID: {i}\nCSeq: 35 INVITE\nFrom: sip:u@example.net;tag=11141343\nTo: sip:u@example.edu;tag=2229\nContact: <sip:u@h>\n"
            f"Content-Type: application/sdp\nContent-Length: {len(wire(SDP))}\n\n{SDP}"
        ),
    ),
    _c("3.3.11", "zeromf", ANSWERED, lambda i: request(OPTIONS, i, "Max-Forwards: 0")),
    _c("3.3.12", "cparam01", REFUSED, lambda i: request(REGISTER, i, *AGENT, "Contact: sip:+19725552222@gw1.example.net;unknownparam")),
    _c("3.3.13", "cparam02", REFUSED, lambda i: request(REGISTER, i, *AGENT, "Contact: <sip:+19725552222@gw1.example.net;unknownparam>")),
    _c(
        "3.3.14",
        "regescrt",
        REFUSED,
        lambda i: request(REGISTER, i, *AGENT, "Contact: <sip:user@example.com?Route=%3Csip:sip.example.com%3E>"),
    ),
    _c(
        "3.3.15",
        "sdp01",
        ANSWERED,
        lambda i: request(INVITE, i, "Accept: text/nobodyKnowsThis", "Contact: <sip:caller@host5.example.net>", SDP_LINE, body=SDP),
    ),
    _c(
        "3.4.1",
        "inv2543",
        ANSWERED,
        lambda i: wire(
            f"INVITE sip:B@example.com SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.1\nFrom: <sip:caller@example.net>\nTo: <sip:B@example.com>\n"
            f"Call-ID: {i}\nCSeq: 8348 INVITE\nContent-Type: application/sdp\n\n{SDP}"
        ),
    ),
]

OWN = [
    _c("-", "nothing", frozenset(), lambda i: b""),
    _c("-", "keep-alive", frozenset(), lambda i: b"\r\n\r\n"),
    _c("-", "zeros", frozenset(), lambda i: bytes(1200)),
    _c("-", "no SIP", frozenset(), lambda i: b"GET / HTTP/1.1\r\n\r\n"),
    _c("-", "60 kB", REFUSED, lambda i: request(INVITE, i, *[f"X-{n}: {LONG}" for n in range(150)], SDP_LINE, body=SDP)),
    _c(
        "-",
        "many routes",
        REFUSED,
        lambda i: request(INVITE, i, *[f"Record-Route: <sip:p{n}@192.0.2.1;lr>" for n in range(800)], SDP_LINE, body=SDP),
    ),
    _c("-", "spiral", REFUSED, lambda i: request(INVITE, i, "Route: <sip:127.0.0.1;lr>", "Route: <sip:127.0.0.1;lr>", SDP_LINE, body=SDP)),
    _c("-", "sdp of nothing", REFUSED, lambda i: request(INVITE, i, SDP_LINE, body="v=\no=\ns=\nm=\n")),
    _c("-", "sdp of streams", REFUSED, lambda i: request(INVITE, i, SDP_LINE, body=SDP + "m=audio 9 RTP/AVP 0\n" * 300)),
    _c(
        "-",
        "replaces nobody",
        REFUSED,
        lambda i: request(INVITE, i, "Replaces: x;to-tag=1;from-tag=2", "Require: replaces", SDP_LINE, body=SDP),
    ),
    _c("-", "refer", REFUSED, lambda i: request("REFER sip:1800@example.com SIP/2.0", i, "Refer-To: <sip:9999@192.0.2.9>")),
    _c("-", "subscribe", REFUSED, lambda i: request("SUBSCRIBE sip:agent1@example.com SIP/2.0", i, "Event: dialog", "Expires: 4000000000")),
    _c("-", "publish", REFUSED, lambda i: request("PUBLISH sip:agent1@example.com SIP/2.0", i, "Event: presence", body="x")),
    _c("-", "bye of no call", REFUSED, lambda i: request("BYE sip:1800@example.com SIP/2.0", i, "To: <sip:1800@example.com>;tag=nobody")),
    _c("-", "star registration", REFUSED, lambda i: request(REGISTER, i, *AGENT, "Contact: *", "Expires: 0")),
]

CASES = [*VALID, *INVALID, *TRANSACTION_AND_APPLICATION, *OWN]
