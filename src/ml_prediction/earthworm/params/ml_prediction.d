# ml_prediction.d: P and S picks by neural networks, from waveforms in a ring.
#
#   startstop:  Process "ml-prediction earthworm ml_prediction.d"
#
# Needed besides: a line  Module MOD_MLPICK <number>  in earthworm.d, and ml_prediction.desc in the
# list of statmgr.d. Lines that are commented out show the default, or an example.

MyModuleId      MOD_MLPICK      # name of this module in earthworm.d; nobody else may use it
InRing          WAVE_RING       # where the waveforms are
OutRing         PICK_RING       # where picks, heartbeats and errors go
HeartBeatInt    30              # seconds from one heartbeat to the next
LogFile         1               # 0: none; 1: file in EW_LOG, and stderr; 2: file only
Debug           0               # 1: every pick in the log

# -- Waveforms ------------------------------------------------------------------------------------
# Whose messages: installation, module, TYPE_TRACEBUF2 or TYPE_TRACEBUF. May be repeated.
GetLogo         INST_WILDCARD MOD_WILDCARD TYPE_TRACEBUF2

# Which channels: patterns of channel codes separated by commas, or STA CHAN NET LOC, all of which
# may have * and ?. May be repeated; default: all.
# Channels      HH?,BH?,EN?
# Channels      * HH? UW --

# The stations: StationXML, or lines STA CHAN NET LOC (-- for no location), or the station list of
# pick_ew with locations (then all channels of each instrument in it are used). Channels that are
# named exactly are expected, so that nobody waits for others: name them, or instruments without
# horizontals are picked only AllowedLateness after their data.
# StationFile   stations.xml

# -- Model ----------------------------------------------------------------------------------------
Model           EQTransformer   # architecture, by its name in SeisBench: EQTransformer, PhaseNet
Weights         original        # name of the weights, or the path of SeisBench's .pt or .json
# Model         PhaseNet:original    # a second one that picks together with the first: NAME:WEIGHTS
# Combine       semblance       # how: max, mean, or semblance (the highest, where they agree)
# Shares        2 1             # weight of each Model in the mean; default: equal
# Calibration   calibration.json     # what sigma is made of: `ml-prediction calibrate` writes it
Engine          auto            # auto, torch, openvino (compiled, on the CPU), or openvino-bf16 (less exact)
# Threads       2               # CPU threads of the model; default: all
# Stride        3000            # samples from window to window; default: the model's
# Horizon       inf             # seconds: the windows that end so long after a sample count for it.
                                # For picks seconds after the wave: PhaseNet, Stride 100, Horizon 2
# Threshold     P 0.1           # probability that triggers; default: the model's
# Threshold     S 0.1
# Threshold     Detection 0.3
# Stacking      max             # how overlapping windows are merged, max or mean; default: the model's
# Blinding      500 500         # samples left out at a window's ends; default: the model's
# Site          max             # max or mean: the instruments of a site (HH and EN of one station and
                                # location that StationFile names) pick each arrival together;
                                # default: each for itself
OneComponent    zero            # verticals alone: horizontals are zero, a clone, or skip: no picks

# -- Picks ----------------------------------------------------------------------------------------
PickPhases      P S             # what is sent: P, S, or both
SComponent      N               # S picks go out on this component: N (or 1), E (or 2), or Z
PickFormat      PICK_SCNL       # PICK_SCNL, PICK2K, or both
PhaseToken      0               # 1: the phase as an additional last word of PICK_SCNL
QualityTable    0.02 0.05 0.15 0.5   # largest expected timing errors (s) of weights 0, 1, 2, 3

# -- Data that come late, or not ------------------------------------------------------------------
AllowedLateness 10              # seconds that a gap waits for data that may still come
SilenceTimeout  120             # after so many seconds without data an instrument's last windows close
QueueWindows    4000            # windows that wait for the engine; beyond that the oldest are dropped

# -- Other outputs --------------------------------------------------------------------------------
# ProbabilityRing  PROB_RING    # probabilities (times 1,000,000) as TYPE_TRACEBUF2, P, S and D
# Archive          mlpicks      # folder: picks.csv, detections.csv, picks.xml, picks.markers each day
# LateArchive      mllate       # folder: late packets, and those from the future, as miniSEED
# MetricsPort      9105         # Prometheus metrics; an address may follow (default 127.0.0.1)
# StatusFile       mlstatus.json   # counts and latencies as JSON, every two seconds

# -- State ----------------------------------------------------------------------------------------
# StateDir       mlstate        # default: ml_prediction.state in EW_DATA_DIR, or else in EW_LOG
SnapshotInt      60             # seconds from one saving of the state to the next
StandAlone       0              # 1: not started by startstop: wait for the rings, and outlive
                                # a stop of the system
