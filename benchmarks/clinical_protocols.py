"""b-values of clinical IVIM protocols in s/mm^2, without repeats, with their sources.

"?" stands for what the text with the list does not say.
"""

# Sources:
# bone marrow     Bourillon, Rahmouni, Lin et al., multiple myeloma lesions (journal ?); the
#                 protocol of Epstein et al., arXiv 2205.05587, is the same
# abdomen         Barbieri et al., Magn Reson Med 2020;83:312; sebbarb/deep_ivim
# brain, 15       Proc. ISMRM 2017, 4721; Voorter et al. 2022, paulienvoorter/IVIM3brain-NET
# brain, 17       attributed to Federau et al., Radiology 2012;265:874 by OSIPI's code collection
#                 (TF2.4_IVIM-MRI_CodeCollection, phantoms/brain); the paper itself was not seen
# breast          Zhao, Fu, Zhang et al., PMID 30250578
# fetal lung      Korngut et al., LNCS 2022;13432:743; TechnionComputationalMRILab/SUPER-IVIM-DC
# liver           Troelstra et al., Front Physiol 2022;13:942495; oliverchampion/IVIMNET
# pancreas, 9     PMID 24979657
# pancreas, 12    data released with Kaandorp et al., Magn Reson Med 2021;86:2250;
#                 oliverchampion/IVIMNET, example_data
# placenta        Antonelli et al., Proc. ISMRM 2018, 4574
# prostate        Med Oncol 2017;34 (3), healthy peripheral zone, BPH and cancer (authors ?)
# retroperitoneum Zhang Yijun et al., optimisation of b-values, set I (journal ?, 2020-10-142)
IVIM_PROTOCOLS = {
    "bone marrow": [0, 10, 20, 30, 50, 80, 100, 200, 400, 800],
    "abdomen": [0, 10, 20, 60, 150, 300, 500, 1000],
    "brain, 15": [0, 5, 7, 10, 15, 20, 30, 40, 50, 60, 100, 200, 400, 700, 1000],
    "brain, 17": [
        0, 10, 20, 30, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900,
    ],
    "breast": [0, 50, 100, 150, 200, 400, 500, 1000, 1500],
    "fetal lung": [0, 50, 100, 200, 400, 600],
    "liver": [
        0, 1, 2, 5, 10, 20, 30, 40, 50, 75, 100, 150, 200, 300, 400, 500, 600, 700,
    ],
    "pancreas, 9": [0, 20, 50, 100, 200, 400, 600, 800, 1000],
    "pancreas, 12": [0, 10, 20, 30, 40, 50, 75, 100, 150, 250, 400, 600],
    "placenta": [0, 10, 30, 50, 75, 100, 150, 400, 700, 1000],
    "prostate": [0, 10, 20, 30, 50, 80, 100, 200, 400, 1000],
    "retroperitoneum": [0, 10, 20, 50, 100, 150, 200, 500, 800, 1000],
}  # fmt: skip
