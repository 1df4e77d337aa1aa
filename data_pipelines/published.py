"""What is published about the benchmarks' sequences beside their files: ranges of frames, splits, exclusions.

The numbers of the toolkits: UAV123's configSeqs, pytracking's lists for OTB and NfS, LaSOT's protocol II, and the list
of the VOT committee.
"""

import re
from typing import NamedTuple


class Range(NamedTuple):
    """The frames of a sequence: the images of `folder` whose names have the numbers `first` to `last`."""

    folder: str
    first: int
    last: int


def _ranges(text):
    """{sequence: Range} of words SEQUENCE=FOLDER[FIRST..LAST], or SEQUENCE[FIRST..LAST] for a folder of that name."""
    found = re.findall(r"(?:(\w+)=)?(\w+)\[(\d+)\.\.(\d+)\]", text)
    return {name or folder: Range(folder, int(first), int(last)) for name, folder, first, last in found}


UAV123 = _ranges(
    """
bird1_1=bird1[1..253] bird1_2=bird1[775..1477] bird1_3=bird1[1573..2437] car16_1=car16[1..415]
car16_2=car16[415..1993] car1_1=car1[1..751] car1_2=car1[751..1627] car1_3=car1[1627..2629] car6_1=car6[1..487]
car6_2=car6[487..1807] car6_3=car6[1807..2953] car6_4=car6[2953..3925] car6_5=car6[3925..4861] car8_1=car8[1..1357]
car8_2=car8[1357..2575] group1_1=group1[1..1333] group1_2=group1[1333..2515] group1_3=group1[2515..3925]
group1_4=group1[3925..4873] group2_1=group2[1..907] group2_2=group2[907..1771] group2_3=group2[1771..2683]
group3_1=group3[1..1567] group3_2=group3[1567..2827] group3_3=group3[2827..4369] group3_4=group3[4369..5527]
person12_1=person12[1..601] person12_2=person12[601..1621] person14_1=person14[1..847]
person14_2=person14[847..1813] person14_3=person14[1813..2923] person17_1=person17[1..1501]
person17_2=person17[1501..2347] person19_1=person19[1..1243] person19_2=person19[1243..2791]
person19_3=person19[2791..4357] person2_1=person2[1..1189] person2_2=person2[1189..2623] person4_1=person4[1..1501]
person4_2=person4[1501..2743] person5_1=person5[1..877] person5_2=person5[877..2101] person7_1=person7[1..1249]
person7_2=person7[1249..2065] person8_1=person8[1..1075] person8_2=person8[1075..1525] truck4_1=truck4[1..577]
truck4_2=truck4[577..1261] uav1_1=uav1[1..1555] uav1_2=uav1[1555..2377] uav1_3=uav1[2473..3469] bike1[1..3085]
bike2[1..553] bike3[1..433] boat1[1..901] boat2[1..799] boat3[1..901] boat4[1..553] boat5[1..505] boat6[1..805]
boat7[1..535] boat8[1..685] boat9[1..1399] building1[1..469] building2[1..577] building3[1..829] building4[1..787]
building5[1..481] car10[1..1405] car11[1..337] car12[1..499] car13[1..415] car14[1..1327] car15[1..469]
car17[1..1057] car18[1..1207] car1_s[1..1475] car2[1..1321] car2_s[1..320] car3[1..1717] car3_s[1..1300]
car4[1..1345] car4_s[1..830] car5[1..745] car7[1..1033] car9[1..1879] person1[1..799] person10[1..1021]
person11[1..721] person13[1..883] person15[1..1339] person16[1..1147] person18[1..1393] person1_s[1..1600]
person20[1..1783] person21[1..487] person22[1..199] person23[1..397] person2_s[1..250] person3[1..643]
person3_s[1..505] person6[1..901] person9[1..661] truck1[1..463] truck2[1..385] truck3[1..535] uav2[1..133]
uav3[1..265] uav4[1..157] uav5[1..139] uav6[1..109] uav7[1..373] uav8[1..301] wakeboard1[1..421] wakeboard10[1..469]
wakeboard2[1..733] wakeboard3[1..823] wakeboard4[1..697] wakeboard5[1..1675] wakeboard6[1..1165] wakeboard7[1..199]
wakeboard8[1..1543] wakeboard9[1..355]
"""
)
UAV20L = _ranges(
    """
bike1[1..3085] bird1[1..2437] car1[1..2629] car16[1..1993] car3[1..1717] car6[1..4861] car8[1..2575] car9[1..1879]
group1[1..4873] group2[1..2683] group3[1..5527] person14[1..2923] person17[1..2347] person19[1..4357]
person2[1..2623] person20[1..1783] person4[1..2743] person5[1..2101] person7[1..2065] uav1[1..3469]
"""
)
# By folder; the annotated frames where there are images beside them.
OTB = _ranges(
    """
Basketball[1..725] Biker[1..142] Bird1[1..408] Bird2[1..99] BlurBody[1..334] BlurCar1[247..988] BlurCar2[1..585]
BlurCar3[3..359] BlurCar4[18..397] BlurFace[1..493] BlurOwl[1..631] Board[1..698] Bolt[1..350] Bolt2[1..293]
Box[1..1161] Boy[1..602] Car1[1..1020] Car2[1..913] Car24[1..3059] Car4[1..659] CarDark[1..393] CarScale[1..252]
ClifBar[1..472] Coke[1..291] Couple[1..140] Coupon[1..327] Crossing[1..120] Crowds[1..347] Dancer[1..225]
Dancer2[1..150] David[300..770] David2[1..537] David3[1..252] Deer[1..71] Diving[1..215] Dog[1..127] Dog1[1..1350]
Doll[1..3872] DragonBaby[1..113] Dudek[1..1145] FaceOcc1[1..892] FaceOcc2[1..812] Fish[1..476] FleetFace[1..707]
Football[1..362] Football1[1..74] Freeman1[1..326] Freeman3[1..460] Freeman4[1..283] Girl[1..500] Girl2[1..1500]
Gym[1..767] Human2[1..1128] Human3[1..1698] Human4[1..667] Human5[1..713] Human6[1..792] Human7[1..250]
Human8[1..128] Human9[1..305] Ironman[1..166] Jogging[1..307] Jump[1..122] Jumping[1..313] KiteSurf[1..84]
Lemming[1..1336] Liquor[1..1741] Man[1..134] Matrix[1..100] Mhyang[1..1490] MotorRolling[1..164]
MountainBike[1..228] Panda[1..1000] RedTeam[1..1918] Rubik[1..1997] Shaking[1..365] Singer1[1..351] Singer2[1..366]
Skater[1..160] Skater2[1..435] Skating1[1..400] Skating2[1..473] Skiing[1..81] Soccer[1..392] Subway[1..175]
Surfer[1..376] Suv[1..945] Sylvester[1..1345] Tiger1[1..354] Tiger2[1..365] Toy[1..271] Trans[1..124]
Trellis[1..569] Twinnings[1..472] Vase[1..271] Walking[1..412] Walking2[1..500] Woman[1..597]
"""
)
# Of pytracking's copy, at 30 frames a second.
NFS = _ranges(
    """
Gymnastics[1..368] MachLoop_jet[1..99] Skiing_red[1..69] Skydiving[1..196] airboard_1[1..425]
airplane_landing[1..81] airtable_3[1..482] basketball_1[1..282] basketball_2[1..102] basketball_3[1..421]
basketball_6[1..224] basketball_7[1..240] basketball_player[1..369] basketball_player_2[1..437]
beach_flipback_person[1..61] bee[1..45] biker_acrobat[1..128] biker_all_1[1..113] biker_head_2[1..132]
biker_head_3[1..254] biker_upper_body[1..194] biker_whole_body[1..572] billiard_2[1..604] billiard_3[1..698]
billiard_6[1..771] billiard_7[1..724] billiard_8[1..778] bird_2[1..476] book[1..288] bottle[1..2103]
bowling_1[1..303] bowling_2[1..710] bowling_3[1..271] bowling_6[1..260] bowling_ball[1..275] bunny[1..705]
car[1..2020] car_camaro[1..36] car_drifting[1..173] car_jumping[1..22] car_rc_rolling[1..62] car_rc_rotating[1..80]
car_side[1..108] car_white[1..2063] cheetah[1..167] cup[1..1281] cup_2[1..182] dog[1..1030] dog_1[1..168]
dog_2[1..594] dog_3[1..200] dogs[1..198] dollar[1..1426] drone[1..70] ducks_lake[1..107] exit[1..359] first[1..435]
flower[1..448] footbal_skill[1..131] helicopter[1..310] horse_jumping[1..117] horse_running[1..139]
iceskating_6[1..603] jellyfish_5[1..746] kid_swing[1..169] motorcross[1..39] motorcross_kawasaki[1..65]
parkour[1..58] person_scooter[1..413] pingpong_2[1..1277] pingpong_7[1..1290] pingpong_8[1..296] purse[1..968]
rubber[1..1328] running[1..677] running_100_m[1..313] running_100_m_2[1..337] running_2[1..363]
shuffleboard_1[1..42] shuffleboard_2[1..41] shuffleboard_4[1..62] shuffleboard_5[1..32] shuffleboard_6[1..52]
shuffletable_2[1..372] shuffletable_3[1..368] shuffletable_4[1..101] ski_long[1..274] soccer_ball[1..163]
soccer_ball_2[1..1934] soccer_ball_3[1..1381] soccer_player_2[1..475] soccer_player_3[1..319] stop_sign[1..302]
suv[1..2584] tiger[1..1556] walking[1..555] walking_3[1..1427] water_ski_2[1..47] yoyo[1..67] zebra_fish[1..671]
"""
)
# LaSOT's protocol II: category and numbers of the test sequences; the others of 20 in each category train.
_LASOT_TEST = """
airplane:1,9,13,15 basketball:1,6,7,11 bear:2,4,6,17 bicycle:2,7,9,18 bird:2,3,15,17 boat:3,4,12,17 book:3,10,11,19
bottle:1,12,14,18 bus:2,5,17,19 car:2,6,9,17 cat:1,3,18,20 cattle:2,7,12,13 chameleon:3,6,11,20 coin:3,6,7,18
crab:3,6,12,18 crocodile:3,4,10,14 cup:1,4,7,17 deer:4,8,10,14 dog:1,7,15,19 drone:2,7,13,15 electricfan:1,10,18,20
elephant:1,12,16,18 flag:2,3,5,9 fox:2,3,5,20 frog:3,4,9,20 gametarget:1,2,7,13 gecko:1,5,16,19 giraffe:2,10,13,15
goldfish:3,7,8,10 gorilla:4,6,9,13 guitar:3,8,10,16 hand:2,3,9,16 hat:1,2,5,18 helmet:5,11,13,19 hippo:1,7,9,20
horse:1,4,12,15 kangaroo:2,5,11,14 kite:4,6,10,15 leopard:1,7,16,20 licenseplate:6,12,13,15 lion:1,5,12,20
lizard:1,3,6,13 microphone:2,6,14,16 monkey:3,4,9,17 motorcycle:1,3,9,18 mouse:1,8,9,17 person:1,5,10,12
pig:2,10,13,18 pool:3,7,12,15 rabbit:10,13,17,19 racing:10,15,16,20 robot:1,5,8,19 rubicCube:1,6,14,19
sepia:6,8,13,16 shark:2,3,5,6 sheep:3,5,7,9 skateboard:3,8,16,19 spider:14,16,18,20 squirrel:8,11,13,19
surfboard:4,5,8,12 swing:10,14,17,20 tank:6,9,14,16 tiger:4,6,12,18 train:1,7,11,20 truck:3,6,7,16 turtle:5,8,9,16
umbrella:2,9,17,19 volleyball:1,13,18,19 yoyo:7,15,17,19 zebra:10,14,16,17
"""
_LASOT_TEST = dict(part.split(":") for part in _LASOT_TEST.split())
LASOT_TEST = frozenset(f"{name}-{number}" for name, numbers in _LASOT_TEST.items() for number in numbers.split(","))
LASOT_TRAIN = frozenset(f"{name}-{number}" for name in _LASOT_TEST for number in range(1, 21)) - LASOT_TEST
# Numbers N of the sequences GOT-10k_Train_00000N that VOT forbids to train on.
_GOT10K_FORBIDDEN = """
4 13 15 20 24 34 38 48 51 59 77 81 89 93 94 96 104 107 108 120 132 170 186 212 213 222 223 240 246 249 266 268 287
293 305 316 319 322 331 334 354 361 368 382 401 417 448 454 458 466 475 484 488 501 510 512 519 539 544 555 564 568
583 587 593 621 624 625 638 648 654 669 701 709 712 731 734 737 744 746 748 762 764 765 766 767 775 783 790 829 857
859 867 872 880 884 909 915 922 928 933 941 961 966 968 971 972 995 1003 1010 1011 1019 1021 1035 1039 1047 1057
1069 1077 1079 1085 1088 1091 1104 1112 1113 1124 1128 1143 1145 1146 1148 1150 1154 1156 1157 1163 1181 1184 1189
1200 1225 1264 1288 1296 1298 1299 1314 1319 1329 1331 1340 1374 1384 1394 1407 1415 1430 1433 1453 1457 1471 1473
1480 1484 1489 1514 1537 1544 1545 1551 1558 1560 1562 1563 1570 1576 1604 1615 1617 1618 1619 1624 1650 1651 1663
1673 1685 1692 1700 1722 1731 1732 1738 1740 1742 1747 1759 1769 1781 1791 1794 1795 1818 1833 1836 1841 1852 1863
1865 1878 1898 1919 1923 1929 1935 1938 1942 1955 1964 1966 1982 2005 2009 2035 2068 2073 2076 2084 2112 2115 2116
2123 2125 2129 2139 2146 2166 2168 2176 2184 2190 2192 2211 2216 2233 2240 2247 2250 2252 2253 2261 2274 2276 2292
2302 2304 2305 2320 2345 2355 2359 2363 2374 2376 2389 2393 2400 2408 2418 2437 2440 2442 2454 2456 2465 2466 2474
2479 2484 2511 2514 2517 2523 2527 2534 2555 2587 2589 2612 2627 2639 2652 2693 2699 2716 2725 2727 2730 2755 2756
2760 2763 2837 2841 2856 2862 2863 2866 2877 2884 2886 2887 2907 2908 2909 2914 2920 2922 2936 2940 2944 2953 2961
2964 2996 3003 3004 3007 3012 3027 3028 3033 3034 3036 3044 3056 3069 3078 3079 3095 3096 3107 3108 3127 3128 3129
3132 3146 3155 3173 3208 3239 3245 3246 3262 3275 3283 3296 3308 3310 3313 3317 3318 3354 3379 3384 3396 3401 3423
3435 3438 3442 3444 3455 3456 3464 3466 3474 3482 3488 3502 3515 3520 3530 3551 3570 3571 3578 3583 3590 3593 3618
3626 3650 3652 3663 3690 3704 3709 3716 3721 3722 3724 3729 3756 3768 3782 3786 3788 3791 3820 3821 3827 3834 3835
3839 3843 3854 3856 3881 3899 3904 3906 3913 3937 3940 3943 3950 3972 3974 3978 3981 3982 4003 4004 4008 4012 4013
4030 4036 4040 4052 4054 4055 4057 4063 4068 4072 4075 4078 4082 4102 4103 4105 4111 4120 4122 4124 4142 4158 4170
4175 4181 4190 4193 4194 4199 4202 4217 4225 4229 4230 4234 4241 4246 4249 4255 4268 4276 4292 4293 4295 4296 4302
4324 4337 4342 4351 4356 4376 4380 4395 4398 4399 4408 4430 4439 4440 4462 4473 4476 4478 4481 4483 4484 4503 4513
4517 4533 4536 4594 4595 4607 4619 4626 4642 4646 4652 4658 4660 4661 4668 4673 4679 4694 4702 4709 4717 4757 4768
4824 4826 4833 4839 4843 4852 4862 4865 4878 4880 4881 4902 4906 4920 4950 4951 4952 4973 4983 4984 4990 4993 4995
5004 5007 5022 5024 5040 5046 5047 5058 5063 5072 5097 5098 5099 5108 5113 5119 5126 5146 5166 5191 5207 5255 5269
5280 5310 5317 5319 5334 5338 5339 5354 5364 5382 5385 5389 5390 5396 5398 5399 5401 5413 5415 5420 5457 5465 5488
5493 5510 5523 5538 5553 5556 5575 5577 5582 5594 5606 5611 5636 5639 5642 5651 5652 5653 5681 5686 5689 5701 5712
5716 5724 5731 5732 5734 5741 5764 5767 5788 5791 5800 5813 5816 5830 5852 5876 5877 5884 5910 5929 5943 5958 5995
6002 6010 6018 6021 6022 6040 6046 6057 6075 6087 6099 6115 6126 6129 6142 6161 6163 6193 6195 6204 6206 6215 6216
6220 6224 6232 6241 6247 6287 6300 6315 6318 6322 6337 6341 6344 6348 6349 6363 6366 6376 6378 6395 6402 6406 6412
6413 6427 6448 6459 6464 6474 6477 6482 6483 6496 6498 6499 6505 6506 6514 6533 6563 6569 6573 6584 6585 6587 6591
6592 6598 6605 6631 6633 6644 6651 6654 6672 6717 6728 6736 6740 6746 6754 6759 6766 6789 6796 6797 6817 6818 6849
6851 6855 6872 6879 6900 6912 6926 6936 6955 6968 6969 6979 6980 6984 6986 6991 7017 7032 7035 7048 7064 7065 7075
7077 7081 7083 7089 7106 7107 7131 7138 7144 7150 7168 7170 7177 7181 7183 7190 7208 7220 7223 7247 7273 7284 7289
7293 7294 7296 7316 7322 7355 7360 7362 7364 7388 7392 7403 7404 7426 7427 7443 7446 7461 7482 7489 7499 7503 7507
7515 7521 7523 7525 7535 7559 7566 7582 7586 7596 7616 7623 7634 7637 7643 7645 7653 7660 7661 7663 7672 7700 7710
7714 7717 7718 7737 7741 7746 7763 7769 7780 7803 7821 7825 7839 7848 7873 7877 7882 7894 7905 7908 7911 7914 7918
7929 7936 7938 7965 7969 7973 7987 7999 8001 8034 8050 8056 8068 8073 8089 8095 8101 8128 8139 8147 8154 8171 8180
8193 8194 8201 8212 8226 8230 8231 8236 8239 8241 8243 8249 8250 8273 8278 8291 8310 8311 8317 8319 8331 8332 8344
8369 8377 8386 8392 8396 8432 8438 8439 8440 8442 8443 8455 8471 8484 8490 8492 8499 8502 8507 8520 8525 8568 8587
8589 8591 8606 8612 8623 8628 8633 8634 8645 8656 8668 8670 8702 8714 8723 8731 8732 8734 8747 8787 8794 8805 8829
8837 8838 8853 8878 8879 8880 8891 8895 8907 8909 8922 8935 8939 8972 8975 8976 9002 9031 9040 9052 9056 9057 9066
9076 9103 9115 9117 9127 9137 9145 9150 9155 9156 9160 9179 9181 9196 9203 9216 9219 9222 9224 9229 9231 9235 9242
9263 9265 9280 9282 9300 9301 9329 9332 9334
"""
GOT10K_FORBIDDEN = frozenset(f"GOT-10k_Train_{int(number):06d}" for number in _GOT10K_FORBIDDEN.split())
